#!/bin/busybox sh
# A guest's first process: makes the machine look like one, runs what the word `tercel=` of the kernel's command line says,
# and ends it. Lines that begin with `@@ ` are findings, one JSON object each; the rest is for people.

/bin/busybox --install -s /bin
export PATH=/bin HOME=/root RUST_BACKTRACE=1

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

# techniques SET: all of it, below one sensor.
techniques() {
    start_sensor "$1" --rule-matching all --rules "/$1.yaml" || return
    technique run --set "$1" --report /tmp/acts || result "$1" false "the techniques broke off"
    stop_sensor "$1"
    technique check --acts /tmp/acts --alerts /tmp/alerts >/tmp/findings || echo "$1: not all is well"
    sed 's/^/@@ /' /tmp/findings
    grep -q . /tmp/findings || result "$1" false "nothing was judged"
}

# metric NAME: the sum over its labels.
metric() { awk -v name="tercel_sensor_$1" '{ split($1, part, "{") } part[1] == name { sum += $2 } END { printf "%d", sum }' /tmp/metrics; }

OPENS=5000
LOOPS=10

# Waits until nothing is on its way to the sensor any more: two looks at its counters a second apart are the same.
settled() {
    before=
    i=0
    while [ $i -lt 60 ]; do
        i=$((i + 1))
        sleep 1
        wget -q -O /tmp/metrics http://$METRICS/metrics || continue
        now=$(metric rule_matches_total)
        [ "$now" = "$before" ] && return
        before=$now
    done
}

# stress ENTRY: opens by one process on one CPU, while loops that call into the kernel take the CPU from it.
stress() {
    start_sensor "stress of $1" --entry "$1" --rules /stress.yaml || return
    : >/stress/counted
    settled
    base=$(metric rule_matches_total)
    loops=
    i=0
    while [ $i -lt $LOOPS ]; do
        sh -c 'while :; do cd /; done' &
        loops="$loops $!"
        i=$((i + 1))
    done
    sh -c 'i=0; while [ $i -lt '$OPENS' ]; do : </stress/counted; i=$((i + 1)); done'
    kill -9 $loops
    wait $loops
    settled
    seen=$(($(metric rule_matches_total) - base))
    say "{\"entry\":\"$1\",\"made\":$OPENS,\"seen\":$seen,\"dropped\":$(metric dropped_total),\"misses\":$(metric recursion_misses_total)}"
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
        if [ -e /stable.yaml ]; then techniques stable; else say '{"left_out":"the stable rules of Falco are not there"}'; fi
        techniques odd
        ;;
    esac
    say '{"end":true}'
}

main
poweroff -f
