#!/usr/bin/env bash
# Puts the test brokers on this machine, without Docker:  provision.sh [all | STAGE]...
# Stages: tls kafka clients kcat trixie bookworm localstack ministack elasticmq perftest pubsub
#
# Everything lies in $BROKERS_HOME (default: target/brokers of this project), one directory per stage. A stage whose
# pin has not changed is left alone, so a second run costs nothing. One that cannot be had prints UNAVAILABLE and why,
# and the others go on; with EVCAT_REQUIRE_ALL=1 the script then ends with 1.
# Needed: openssl (tls); Java 17 and Maven (kafka, elasticmq, perftest); Python 3 with venv (clients, localstack, ministack, pubsub); Go
# (pubsub); kcat, which root gets from apt; root and apt (trixie and bookworm, where RabbitMQ runs).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
home=${BROKERS_HOME:-$here/../../target/brokers}
mkdir -p "$home"
home=$(cd "$home" && pwd)
# shellcheck source=tests/brokers/versions.env
. "$here/versions.env"

all=(tls kafka clients kcat trixie bookworm localstack ministack elasticmq perftest pubsub)
missing=0

die() {
    echo "error: $*" >&2
    exit 1
}

# stage NAME PIN: runs make_NAME in the empty directory NAME, unless it was made from the same pin before.
stage() {
    local name=$1 pin=$2 dir=$home/$1 log=$home/$1.log status why
    if [[ -f $dir/.pin && $(<"$dir/.pin") == "$pin" ]]; then
        echo "ok           $name ($pin)"
        return
    fi
    rm -rf "$dir"
    mkdir -p "$dir"
    SECONDS=0
    # Not as a condition: that would switch -e off in the stage.
    set +e
    (
        set -e
        cd "$dir"
        "make_$name"
    ) >"$log" 2>&1 </dev/null
    status=$?
    set -e
    if ((status == 0)); then
        echo "$pin" >"$dir/.pin"
        echo "ok           $name ($pin), made in $SECONDS s"
        return
    fi
    # The first line that looks like a cause: what follows it in Maven's and pip's output is advice.
    why=$(grep -m1 -oE '(\[ERROR\]|ERROR:|error:|^E:) +[^ ].*' "$log" || grep -v '^[[:space:]]*$' "$log" | tail -1)
    why=$(sed -E 's/^(\[ERROR\]|ERROR:|error:|E:) +//' <<<"${why:-it ended with $status}")
    echo "UNAVAILABLE  $name ($pin): ${why:0:300} (all of it: $log)"
    missing=1
    rm -rf "$dir"
}

needs() {
    command -v "$1" >/dev/null || die "$1 is not installed"
}

# One certificate authority made for this directory, a server and a client certificate of it, and a second authority
# that nobody trusts. Keys are PKCS#8, which is what Kafka reads.
make_tls() {
    needs openssl
    local who
    for who in ca other-ca; do
        openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=evcat-test-$who" \
            -keyout "$who.key" -out "$who.pem"
    done
    for who in server client; do
        openssl req -newkey rsa:2048 -nodes -subj "/CN=$who" -keyout "$who.key" -out "$who.csr"
        openssl x509 -req -in "$who.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -out "$who.pem" \
            -extfile <(echo "subjectAltName=DNS:localhost,IP:127.0.0.1")
        # Kafka wants both in one file, the key first.
        cat "$who.key" "$who.pem" >"$who-with-key.pem"
    done
}

make_kafka() {
    needs java
    needs mvn
    local version
    version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
    ((${version:-0} >= 17)) || die "Kafka $KAFKA_VERSION needs Java 17 or newer, and this is ${version:-unknown}"
    mvn -B -q -f "$here/kafka/pom.xml" "-Dkafka.version=$KAFKA_VERSION" "-Dlog4j.version=$LOG4J_VERSION" \
        "org.apache.maven.plugins:maven-dependency-plugin:$MAVEN_DEPENDENCY_PLUGIN_VERSION:copy-dependencies" \
        -DincludeScope=runtime "-DoutputDirectory=$PWD/libs"
    [[ -f libs/kafka_2.13-$KAFKA_VERSION.jar ]] || die "Maven ended well, but libs has no Kafka $KAFKA_VERSION"
}

# Somebody else's client, to read what evcat wrote and write what evcat reads.
make_clients() {
    needs python3
    python3 -m venv .
    bin/pip install -q --disable-pip-version-check "confluent-kafka==$CONFLUENT_KAFKA_VERSION" \
        "pika==$PIKA_VERSION" "boto3==$BOTO3_VERSION"
    bin/python -c 'import boto3, confluent_kafka, pika'
}

make_kcat() {
    if ! command -v kcat >/dev/null; then
        command -v apt-get >/dev/null || die "kcat is not installed, and there is no apt to get it"
        [[ $(id -u) == 0 ]] || die "kcat is not installed, and only root may install it: apt-get install kcat"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends kcat
    fi
    ln -s "$(command -v kcat)" kcat
}

# The three that stand in for AWS: LocalStack is the most faithful, ministack the fastest, ElasticMQ keeps the limits.
make_localstack() {
    needs python3
    python3 -m venv .
    bin/pip install -q --disable-pip-version-check "uv==$UV_VERSION"
    # It does not say which releases it needs, so those of its own time are taken.
    bin/uv pip install -q --python bin/python --exclude-newer "$LOCALSTACK_UNTIL" \
        "localstack-core[runtime]==$LOCALSTACK_VERSION"
    bin/python -c 'import localstack.runtime.main'
}

make_ministack() {
    needs python3
    python3 -m venv .
    bin/pip install -q --disable-pip-version-check "ministack==$MINISTACK_VERSION"
    [[ -x bin/ministack ]]
}

make_elasticmq() {
    needs java
    needs mvn
    mvn -B -q -f "$here/aws/pom.xml" "-Delasticmq.version=$ELASTICMQ_VERSION" \
        "org.apache.maven.plugins:maven-dependency-plugin:$MAVEN_DEPENDENCY_PLUGIN_VERSION:copy-dependencies" \
        -DincludeScope=runtime "-DoutputDirectory=$PWD/libs"
    [[ -f libs/elasticmq-server_3-$ELASTICMQ_VERSION.jar ]] || die "Maven ended well, but libs has no ElasticMQ"
}

# RabbitMQ's own bench, for ours.
make_perftest() {
    needs java
    needs mvn
    mvn -B -q -f "$here/rabbitmq/pom.xml" "-Dperftest.version=$PERFTEST_VERSION" \
        "org.apache.maven.plugins:maven-dependency-plugin:$MAVEN_DEPENDENCY_PLUGIN_VERSION:copy-dependencies" \
        -DincludeScope=runtime "-DoutputDirectory=$PWD/libs"
    [[ -f libs/perf-test-$PERFTEST_VERSION.jar ]] || die "Maven ended well, but libs has no PerfTest"
}

# A Debian in a directory, for servers that are newer or older than this machine's: whoever starts one of them enters it
# by chroot in a mount namespace of its own, so nothing of it is installed here and no mount outlives its process.
make_trixie() {
    debian trixie "$RABBITMQ_VERSION"
}

make_bookworm() {
    debian bookworm "$RABBITMQ_OLD_VERSION"
}

# debian SUITE RABBITMQ
debian() {
    [[ $(id -u) == 0 ]] || die "only root can make a chroot"
    command -v apt-get >/dev/null || die "there is no apt, whose settings it takes over"
    if ! command -v debootstrap >/dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap
    fi
    local mirror own proxy
    own=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    # The mirror and the proxy that this machine's apt uses; without one, debootstrap's own.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $own" 'Created-By: Packages' | head -1)
    proxy=$(apt-config dump --format '%v' Acquire::http::Proxy)
    [[ -z $proxy ]] || export http_proxy=$proxy
    debootstrap --variant=minbase --include=ca-certificates "$1" "$PWD" ${mirror:+"$mirror"}
    apt-config dump | grep -E '^Acquire::(http|https|Retries|Check)' >etc/apt/apt.conf.d/99host || true
    printf '#!/bin/sh\nexit 101\n' >usr/sbin/policy-rc.d
    chmod +x usr/sbin/policy-rc.d
    cp /etc/resolv.conf etc/
    grep -qs localhost etc/hosts || echo "127.0.0.1 localhost" >>etc/hosts
    chroot . sh -c "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        --no-install-recommends rabbitmq-server"
    [[ -d usr/lib/rabbitmq/lib/rabbitmq_server-$2 ]] || die "Debian $1 has no RabbitMQ $2"
    mkdir data
    rm -rf var/cache/apt/archives/*.deb
}

# A stand-in for Google's Pub/Sub, and Google's own Python client.
make_pubsub() {
    needs go
    needs python3
    cp "$here"/pubsub/{main.go,go.mod,go.sum} .
    grep -qF "cloud.google.com/go/pubsub/v2 $PSTEST_VERSION" go.mod || die "go.mod does not want pstest $PSTEST_VERSION"
    go build -mod=readonly -o pstest .
    python3 -m venv client
    client/bin/pip install -q --disable-pip-version-check "google-cloud-pubsub==$GOOGLE_CLOUD_PUBSUB_VERSION"
    client/bin/python -c 'from google.cloud import pubsub_v1'
}

run() {
    case $1 in
        tls) stage tls 1 ;;
        kafka) stage kafka "$KAFKA_VERSION, log4j $LOG4J_VERSION, pom $(cksum <"$here/kafka/pom.xml")" ;;
        clients) stage clients "confluent-kafka $CONFLUENT_KAFKA_VERSION, pika $PIKA_VERSION, boto3 $BOTO3_VERSION" ;;
        kcat) stage kcat "from apt" ;;
        trixie) stage trixie "rabbitmq $RABBITMQ_VERSION" ;;
        bookworm) stage bookworm "rabbitmq $RABBITMQ_OLD_VERSION" ;;
        localstack) stage localstack "localstack-core $LOCALSTACK_VERSION until $LOCALSTACK_UNTIL" ;;
        ministack) stage ministack "$MINISTACK_VERSION" ;;
        elasticmq) stage elasticmq "$ELASTICMQ_VERSION" ;;
        perftest) stage perftest "$PERFTEST_VERSION, pom $(cksum <"$here/rabbitmq/pom.xml")" ;;
        pubsub) stage pubsub "pstest $PSTEST_VERSION, google-cloud-pubsub $GOOGLE_CLOUD_PUBSUB_VERSION" ;;
        *) die "no stage '$1': all, ${all[*]}" ;;
    esac
}

# Two at once would remove each other's halves. Where there is no flock (macOS), nobody but a person starts two.
exec 9>"$home/.lock"
! command -v flock >/dev/null || flock 9

names=("${@:-all}")
[[ ${names[*]} != all ]] || names=("${all[@]}")
for name in "${names[@]}"; do
    run "$name"
done

comma=
{
    for name in "${all[@]}"; do
        pin=null
        [[ ! -f $home/$name/.pin ]] || pin="\"$(<"$home/$name/.pin")\""
        printf '%s\n  "%s": %s' "${comma:-{}" "$name" "$pin"
        comma=,
    done
    printf '\n}\n'
} >"$home/manifest.json"
echo "manifest: $home/manifest.json"
[[ $missing == 0 || ${EVCAT_REQUIRE_ALL:-} != 1 ]] || die "EVCAT_REQUIRE_ALL is set, and not everything could be had"
