#!/usr/bin/env bash
# Makes a table, FOLDER/table.txt: which of DeepCrime's 24 mutation operators kill a mutant of the networks M and R of the fault benchmark, on
# 300 rows of their data for a few epochs. 20 trainings of every original and mutant; an operator ends with its first killed mutant.
#
#   scripts/mutants.sh [FOLDER]             # default out/mutants; MNIST and Reuters in $NETMEND_DATA; goes on where it was stopped
#
# Some operators need what M and R do not have: a regularisation, early stopping, a linear layer, a layer without bias. The subjects R_* have
# one of these each, or a recipe with which the operator's change matters; the comments say why.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-out/mutants}
netmend=${NETMEND:-bin/netmend}
[ -x "$netmend" ] || make build
mkdir -p "$out/subjects"

# subject NAME FROM SED: a copy of a subject with another recipe.
subject() {
	local to=$out/subjects/$1 from=$out/subjects/$2
	mkdir -p "$to"
	cp "$from/model.onnx" "$from/data.npz" "$to/"
	sed "$3" "$from/recipe.yaml" >"$to/recipe.yaml"
}

# mutant NAME FROM OPERATOR NUMBER: a subject that is a mutant of another, killed or not.
mutant() {
	local to=$out/subjects/$1 from=$out/subjects/$2 made=$out/subjects/$1.made
	rm -rf "$made"
	"$netmend" mutate "$from/model.onnx" --recipe "$from/recipe.yaml" --data "$from/data.npz" --operator "$3" --runs 2 --extreme --keep-all --out "$made" >/dev/null
	mkdir -p "$to"
	cp "$from/data.npz" "$to/"
	cp "$made/$3-$4/"*.* "$to/"
}

# mutate NAME OPERATORS: the mutants of a subject.
mutate() {
	local from=$out/subjects/$1 resume=()
	[ -e "$out/$1/journal.jsonl" ] && resume=(--resume)
	nice -n 10 "$netmend" mutate "$from/model.onnx" --recipe "$from/recipe.yaml" --data "$from/data.npz" --operator "$2" --per-operator 1 --extreme \
		--out "$out/$1" "${resume[@]}"
}

# What the operators do to a training depends on its length, so it is set here and not left to the benchmark's lite scale.
"$netmend" fault M1 --fixed --train-rows 300 --test-rows 200 --out "$out/subjects/M_lite"
"$netmend" fault R3 --fixed --train-rows 300 --test-rows 200 --out "$out/subjects/R_lite"
subject M M_lite 's/^epochs: .*/epochs: 3/; s/^batch_size: .*/batch_size: 32/'
subject R R_lite 's/^epochs: .*/epochs: 2/; s/^batch_size: .*/batch_size: 32/'

stopping='$ a early_stopping: {monitor: metric, patience: 10, restore_best: true}'
# A penalty; with the usual factor, 0.01, it is too strong.
subject R_l1 R 's/^epochs: .*/epochs: 4/; $ a regularizers: {dense1/kernel: {l1: 0.001}}'
# An exponential output, which overflows at this rate unless a penalty keeps the weights small.
mutant R_exp R ACH 19
subject R_l2 R_exp 's/^epochs: .*/epochs: 6/; s/learning_rate: 0.001/learning_rate: 0.03/; $ a regularizers: {dense1/kernel: {l2: 0.1}}'
# A rate with which the accuracy rises slowly and stands still for an epoch here and there.
subject R_patience R "s/^epochs: .*/epochs: 10/; s/learning_rate: 0.001/learning_rate: 0.0002/; $stopping"
# A rate and a penalty with which the accuracy falls while the training loss goes on falling, so that it matters which one ends the training.
subject R_rate R "s/^epochs: .*/epochs: 12/; s/learning_rate: 0.001/learning_rate: 0.1/; \$ a regularizers: {dense1/kernel: {l2: 0.1}}
\$ a early_stopping: {monitor: metric, patience: 2, restore_best: true}"
# Plain gradient descent on large inputs: large gradients that a limit cuts down.
subject R_large R 's/^optimizer:.*/optimizer: {name: sgd, learning_rate: 0.0001}/; $ a preprocessing: [{kind: divide, by: 0.01}]'
# A hidden layer without bias on small inputs: Adam moves a bias further in a step than the inputs reach, and units die.
mutant R_bare R WRB 1
# Its inputs so small that plain gradient descent learns the shares of the classes alone, by the output's bias.
subject R_faint R_bare 's/^optimizer:.*/optimizer: {name: sgd, learning_rate: 0.1}/; $ a preprocessing: [{kind: divide, by: 1000000}]'
subject R_small R_bare 's/^epochs: .*/epochs: 4/; $ a preprocessing: [{kind: divide, by: 100}]'
# A linear hidden layer.
mutant R_linear R ARM 1

mutate R all
mutate M HNE,HDB,ACH,ARM,RAW,RCD,WCI,LCH,OCH
mutate R_l1 RCW
mutate R_l2 RRW
mutate R_patience RCP
mutate R_rate VRM
mutate R_large OCG
mutate R_small WAB
mutate R_faint WRB
mutate R_linear AAL
"$netmend" mutate --table "$out"/{M,R,R_l1,R_l2,R_patience,R_rate,R_large,R_small,R_faint,R_linear} | tee "$out/table.txt"
