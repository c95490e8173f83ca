#!/bin/busybox sh
# First process of a guest that loses its power: mounts the disk, starts the router on it, and does what the word `tercel=` of
# the kernel's command line says.

/bin/busybox --install -s /bin
export PATH=/bin HOME=/root

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
ip link set lo up
for module in /modules/*; do
    insmod "$module" || echo "no $module"
done

INGEST=127.0.0.1:2801
ADMIN=127.0.0.1:2802
HOOK=127.0.0.1:9000

# Ends with the router's last words: a life that ends by itself is a failure.
fail() {
    echo "@@ failed $*"
    tail -n 30 /tmp/log
    poweroff -f
}

mount -t ext4 /dev/vda /disk || fail "the disk cannot be mounted"
tercel-router run --routing /routing.toml --state /disk/state --listen $INGEST --admin $ADMIN >/tmp/log 2>&1 &
case " $(cat /proc/cmdline) " in
*" tercel=load "*)
    power load --to $INGEST --life "$(sed 's/.*life=\([0-9]*\).*/\1/' /proc/cmdline)" || fail "the load broke off"
    ;;
*)
    power receive --listen $HOOK --admin $ADMIN --archive /disk/state/archive || fail "not everything arrived"
    ;;
esac
poweroff -f
