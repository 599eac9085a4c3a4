#!/usr/bin/env bash
# Stock `mn` with our topology and our controller, in namespaces and with an Open vSwitch of its own.
# Usage, as root: unshare --net --mount bash stock_mn.sh PYTHON SCENARIO FOLDER
set -euo pipefail
python=$1 scenario=$2 folder=$3
export OVS_RUNDIR=$folder OVS_LOGDIR=$folder OVS_DBDIR=$folder OVS_SYSCONFDIR=$folder
ip link set lo up
ovsdb-tool create "$folder/conf.db" /usr/share/openvswitch/vswitch.ovsschema
daemon=(--detach --pidfile --no-chdir --log-file)
ovsdb-server "$folder/conf.db" "--remote=punix:$folder/db.sock" "${daemon[@]}"
trap 'kill $(cat "$folder"/*.pid) ${controller:-} 2>/dev/null || true' EXIT
ovs-vsctl --no-wait init
ovs-vswitchd "${daemon[@]}"
"$python" -c "from model.scenario.load import load_scenario as l; print(l('$scenario').model_dump_json())" \
  > "$folder/scenario.json"
"$python" -m controller.process --scenario "$folder/scenario.json" 2> "$folder/controller.log" &
controller=$!
until grep -q listens "$folder/controller.log"; do sleep 0.1; done
mn --custom topologies/crowd_edge.py --topo "crowdedge,$scenario" \
  --switch ovsk,datapath=user,protocols=OpenFlow13 --link tc --controller remote --test pingall
