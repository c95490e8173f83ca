# Makes this process's mount and network namespaces those of a node, below the folder $1, and keeps them.
set -eu
mkdir -p "$1/run" "$1/var" "$1/work" "$1/sys"
# Shared among the node's own, as on a node: a pod may want to see what is mounted later.
mount --make-rshared /
# What anybody writes to /var lands in $1/var.
mount -t overlay -o "lowerdir=/var,upperdir=$1/var,workdir=$1/work" overlay /var
mount --bind "$1/run" /run
# The kubelet sets these for the whole machine: a file each, in which they are set already.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    file="$1/sys/$(basename "${setting%=*}")"
    echo "${setting#*=}" > "$file"
    mount --bind "$file" "/proc/sys/${setting%=*}"
done
ip link set lo up
ip link add cni0 type bridge
ip address add 10.88.0.1/16 dev cni0
ip link set cni0 up
# Last: by it the test sees that all of this is done.
mkdir /run/node
exec sleep infinity
