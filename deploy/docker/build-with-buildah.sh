#!/bin/sh
# Builds the image without a container engine, a registry or an index: the base comes from a Debian mirror, the wheels
# from what pip is configured with. Needs root and Debian's buildah and debootstrap. From the root of the repository:
#   sh deploy/docker/build-with-buildah.sh [TAG]
# Environment: PYTHON is an interpreter with pip and of the version that SUITE has (bookworm: 3.11).
set -eu

tag=${1:-localhost/unhitch:latest}
suite=${SUITE:-bookworm}
python=${PYTHON:-python3}
base=localhost/debian-python:$suite
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

image() {
    buildah --storage-driver vfs "$@"
}

if ! image inspect --type image "$base" > /dev/null 2>&1; then
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv "$suite" "$scratch/root"
    rm -rf "$scratch"/root/var/cache/apt/* "$scratch"/root/var/lib/apt/lists/*
    container=$(image from scratch)
    image add --quiet "$container" "$scratch/root" /
    image config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
    image commit --quiet --rm "$container" "$base"
fi

# A copy of the tree, so that the checkout's own deploy/docker/wheels stays as it is.
mkdir "$scratch/context"
tar --create --exclude-vcs --exclude=./.venv --exclude=__pycache__ . | tar --extract --directory "$scratch/context"
wheels=$scratch/context/deploy/docker/wheels
"$python" -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
    > "$scratch/requirements.txt"
"$python" -m pip download --quiet --only-binary :all: --dest "$wheels" --constraint deploy/docker/constraints.txt \
    --requirement "$scratch/requirements.txt" "hatchling>=1.27"

image bud --isolation chroot --format docker --timestamp "${SOURCE_DATE_EPOCH:-0}" \
    --build-arg "BASE_IMAGE=$base" --build-arg PIP_NO_INDEX=1 \
    --file "$scratch/context/deploy/docker/Dockerfile" --tag "$tag" "$scratch/context"

# The image's own user starts the command line and the health check finds its interpreter.
container=$(image from "$tag")
trap 'image rm "$container" > /dev/null; rm -rf "$scratch"' EXIT
# shellcheck disable=SC2016 # expanded inside
image run --isolation chroot "$container" -- sh -c 'test "$(id -u)" = 10001 && unhitch --help && python3 --version'
