#!/usr/bin/env bash
# The main job on the simulator: a first night, further nights until the Voyado jobs are
# done, the confirmations of Acqueon's admin, an export opened by who may open it, and the
# check against what really happened. A fourth vendor is described by a recipe, letters.yaml.
# `make demo` builds the programs and calls this. Leaves report and store in demo/.
set -euo pipefail
cd "$(dirname "$0")/../.."
expunge=$PWD/bin/expunge
vendorsim=$PWD/bin/vendorsim
subjects=$PWD/testdata/subjects.csv

say() { printf '\n== %s\n' "$*"; }

umask 077
rm -rf demo
mkdir demo
cp testdata/demo/expunge.yaml testdata/demo/letters.yaml demo/

say "a pair of keys for the privacy officer: exports are kept for these eyes alone"
"${GO:-go}" build -o bin/ filippo.io/age/cmd/age filippo.io/age/cmd/age-keygen ./testdata/demo/ziplines
bin/age-keygen -o demo/officer.key 2>/dev/null
EXPORT_RECIPIENT=$(bin/age-keygen -y demo/officer.key)
export EXPORT_RECIPIENT
echo "$EXPORT_RECIPIENT"
export CG_CLIENT_ID=sim-client CG_CLIENT_SECRET=sim-secret VOYADO_API_KEY=sim-api-key LETTERS_TOKEN=sim-token

say "the simulator: people from testdata/people.json, a day lasts two seconds, some faults"
"$vendorsim" --seed-file testdata/people.json --recipe testdata/demo/letters.yaml --control --day 2s --for 5m --addr-file demo/sim.addr \
  --fault all:latency=2ms --fault customergauge:5xx=0.05 --fault customergauge:lost=0.03 \
  --fault customergauge:429=0.01 --fault voyado:5xx=0.05 --fault voyado:lost=0.05 >demo/sim.log 2>&1 &
sim=$!
trap 'kill $sim 2>/dev/null || true; wait $sim 2>/dev/null || true' EXIT
for _ in $(seq 100); do
  [ -s demo/sim.addr ] && break
  sleep 0.1
done
SIM_URL=$(cat demo/sim.addr)
export SIM_URL
cd demo

# 3 means that some rows are invalid or some tasks failed, 4 that some are held: the file
# has such people in it. Anything else is a defect.
night() {
  local code=0
  "$expunge" "$@" || code=$?
  case $code in
    0 | 3 | 4) echo "(exit $code)" ;;
    *) echo "expunge $*: exit $code" >&2; exit 1 ;;
  esac
}

say "the fourth vendor is a file, tried without the vendor: expunge vendor test letters.yaml"
"$expunge" vendor test letters.yaml

say "first night, a window of 6 s: expunge run subjects.csv"
night run "$subjects" --rejects rejects.csv --for 6s

say "the same command again at once: nothing is submitted twice"
night run "$subjects"

n=1
while grep -q ',voyado,.*,\(waiting\|pending\|submitting\),\|export: \(waiting\|done\|not accepted\)' report.csv; do
  n=$((n + 1))
  if [ $n -gt 30 ]; then
    echo "the Voyado jobs did not end" >&2
    exit 1
  fi
  sleep 1.5
  say "night $n: expunge run"
  night run --for 6s
done

say "Acqueon's admin has acted: expunge confirm"
"$vendorsim" complete --url "$SIM_URL" --vendor acqueon >confirmations.csv
"$expunge" confirm confirmations.csv

say "the report: expunge report"
"$expunge" report -o report.csv
"$expunge" report --format html -o report.html
cut -d, -f2-9,11,12,14,18 report.csv | sed -n 1,25p
echo "… $(($(wc -l <report.csv) - 1)) lines, all in demo/report.csv; for readers: demo/report.html"

say "what Voyado held, encrypted before it was removed: age -d"
line=$(grep -o -m1 'export: [^ ]*[.]zip[.]age sha256 [0-9a-f]* [0-9]* bytes [1-9][0-9]* files' report.csv)
read -r _ file _ sum _ _ files _ <<<"$line"
echo "$line"
echo "$sum  exports/$file" | sha256sum --check -
"$OLDPWD/bin/age" -d -i officer.key "exports/$file" | "$OLDPWD/bin/ziplines" | tee opened.txt
[ "$(($(wc -l <opened.txt) - 1))" = "$files" ] || { echo "the report says $files files" >&2; exit 1; }
echo "$(ls exports/*.zip.age | wc -l) exports in demo/exports; for $(grep -c 'export: empty' report.csv) more keys Voyado held nothing"

say "expunge status"
"$expunge" status

say "the report against the simulator's ledger"
night run
"$vendorsim" audit --url "$SIM_URL" --subjects "$subjects" --report report.csv --exports exports \
  --config-vendors customergauge=customergauge,voyado=voyado,acqueon=acqueon,letters=rest:letters
echo "the control totals balance, and the simulator's ledger agrees with the report, subject by subject"
