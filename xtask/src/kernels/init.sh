#!/bin/busybox sh
# A guest's first process: makes the machine look like one, runs what the word `tercel=` of the kernel's command line says,
# and ends it. Lines that begin with `@@ ` are findings, one JSON object each; the rest is for people.

/bin/busybox --install -s /bin
export PATH=/bin HOME=/root

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o ptmxmode=666 pts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs tmp /tmp
mount -t securityfs security /sys/kernel/security
mount -t tracefs tracing /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup /sys/fs/cgroup
hostname -F /etc/hostname
ip link set lo up
insmod /overlay.ko || echo "no overlays"

METRICS=127.0.0.1:2803
READY_SECONDS=120
sensor=

say() { echo "@@ $*"; }

# result NAME OK WHY
result() { say "{\"technique\":\"$1\",\"ok\":$2,\"why\":\"$3\"}"; }

# start_sensor NAME ARGUMENTS…: its alerts go to /tmp/alerts, its log to the console when it ends.
start_sensor() {
    name=$1
    shift
    technique resolve -- tercel-sensor run --config /sensor.toml --output stdout --metrics $METRICS "$@" >/tmp/alerts 2>/tmp/log &
    sensor=$!
    i=0
    until wget -q -O /dev/null http://$METRICS/readyz 2>/dev/null; do
        i=$((i + 1))
        if [ $i -gt $((READY_SECONDS * 5)) ] || ! kill -0 $sensor 2>/dev/null; then
            cat /tmp/log
            result "sensor on $name" false "it was not ready; its log is above"
            kill -9 $sensor 2>/dev/null
            wait $sensor
            return 1
        fi
        usleep 200000
    done
    grep -h -o 'ready: .*' /tmp/log
    echo "$name: sensor ready after $(cut -d' ' -f1 /proc/uptime) s of uptime"
}

# stop_sensor NAME: what it saw by now it still reports.
stop_sensor() {
    kill -TERM $sensor
    wait $sensor
    code=$?
    grep -v ' INFO ' /tmp/log | cut -c1-600
    if [ $code = 0 ]; then
        result "sensor on $1 stops" true "exit code 0"
    else
        result "sensor on $1 stops" false "exit code $code"
    fi
}

# The shipped rules, and the simplest thing that one of them is for.
shipped() {
    start_sensor shipped --rules /rules || return
    cat /etc/shadow >/dev/null
    stop_sensor shipped
    if grep -q '"rule":"Credential file read"' /tmp/alerts; then
        result shipped-credential-file true "the rule fired"
    else
        result shipped-credential-file false "no alert of Credential file read"
    fi
}

# No container ends within its 20 ms where every instruction is emulated.
TOO_FAST=container-of-milliseconds

# All of them, below one sensor.
techniques() {
    stable='--rules /stable.yaml'
    set=
    if [ ! -e /stable.yaml ]; then
        say '{"left_out":"the stable rules of Falco are not there"}'
        stable=
        set='--set odd'
    fi
    start_sensor techniques --rule-matching all $stable --rules /odd.yaml || return
    technique run $set --report /tmp/acts || result techniques false "they broke off"
    stop_sensor techniques
    technique check --acts /tmp/acts --alerts /tmp/alerts --skip "$TOO_FAST" >/tmp/findings || echo "not all is well"
    sed 's/^/@@ /' /tmp/findings
    grep -q . /tmp/findings || result techniques false "nothing was judged"
    say "{\"left_out\":\"$TOO_FAST: the emulated machine is too slow for it\"}"
}

# metric PATTERN: the sum of all whose name and labels match.
metric() { awk -v pattern="^tercel_sensor_$1" '$0 ~ pattern { sum += $NF } END { printf "%d", sum }' /tmp/metrics; }

# Alerts of the stress so far; the sensor has some about itself too.
counted() { metric 'rule_matches_total.*"Counted open"'; }

OPENS=5000
LOOPS=10

# Waits until nothing is on its way any more: two looks at the sensor's counters are the same, a second apart.
settled() {
    before=
    i=0
    while [ $i -lt 60 ]; do
        i=$((i + 1))
        sleep 1
        wget -q -O /tmp/metrics http://$METRICS/metrics || continue
        now=$(counted)
        [ "$now" = "$before" ] && return
        before=$now
    done
}

# stress ENTRY: opens by one process on one CPU, while loops take the CPU from it. Their system call is one that the sensor
# does not ask for: what they do must not fill its ring.
stress() {
    : >/stress/counted
    start_sensor "stress of $1" --entry "$1" --rules /stress.yaml || return
    loops=
    i=0
    while [ $i -lt $LOOPS ]; do
        sh -c 'while :; do umask 022; done' &
        loops="$loops $!"
        i=$((i + 1))
    done
    sh -c 'i=0; while [ $i -lt '$OPENS' ]; do : </stress/counted; i=$((i + 1)); done'
    kill -9 $loops
    wait $loops
    settled
    say "{\"entry\":\"$1\",\"made\":$OPENS,\"seen\":$(counted),\"dropped\":$(metric 'dropped_total.*kind=.open'),\"misses\":$(metric recursion_misses_total)}"
    stop_sensor "stress of $1"
}

main() {
    case " $(cat /proc/cmdline) " in
    *" tercel=stress "*)
        stress classic
        stress btf
        ;;
    *)
        shipped
        techniques
        ;;
    esac
    say '{"end":true}'
}

main
poweroff -f
