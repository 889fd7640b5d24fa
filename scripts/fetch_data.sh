#!/usr/bin/env bash
# Fetches the data sets and released weights of the experiments, checks them, and lays them out.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/fetch_data.sh [options] [ITEM...]

Fetches ITEMs (default: voc aug scribbles) into DIR/downloads and brings them into the layout that the
prototxts of configs/ expect: a folder for each data set as `rlossctl data prepare` makes it (DIR/VOC2012,
DIR/CamVid), and DIR/VOC2012/pascal_scribble/model/NET for weights.

  --out DIR       folder to work in (default: data)
  --mirror DIR    look for the files in this folder (or at this URL) first, by the names that --list shows
  --sums FILE     more checksums, in sha256sum's format; they come before those of this script
  --accept        use files whose checksum is not known without asking
  --no-prepare    only fetch and check
  --list          show items, file names, checksums and addresses, and stop
  --dry-run       show what would be done, and stop
  -h, --help      this text

A broken download goes on where it stopped. Every address is asked by https. A file whose checksum is not known
is fetched, its SHA-256 is printed, and it is used when that is confirmed: compare it with a colleague's, or put
it into a --sums file. What was confirmed is noted in DIR/downloads/accepted.sha256 and not asked again. Exit
status: 0 when all items are there, 1 when one could not be fetched or checked, 2 for wrong arguments.
TEXT
}

# name | file | SHA-256, or - where no trustworthy one is known | addresses, in the order they are tried
# The data sets' come from rlossctl/data/sets, with the data set's name and its folder behind them.
WEIGHTS='
vgg16_20M|vgg16_20M.caffemodel|-|https://www.cs.jhu.edu/~alanlab/ccvl/init_models/vgg16_20M.caffemodel https://ccvl.stat.ucla.edu/ccvl/init_models/vgg16_20M.caffemodel
deeplab_vgg16|deeplab_aspp_vgg16.zip|-|https://liangchiehchen.com/projects/released/deeplab_aspp_vgg16/prototxt_and_model.zip
resnet-101|deeplab_aspp_resnet101.zip|-|https://liangchiehchen.com/projects/released/deeplab_aspp_resnet101/prototxt_and_model.zip
'
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Here the authors list the trained models of the paper; no stable file names are known.
RELEASED='https://cs.uwaterloo.ca/~m62tang/rloss/'

out=data mirror='' sums='' prepare=yes dry=no accept=no
wanted=()

fail() { echo "error: $1" >&2; exit "${2:-1}"; }

field() { grep "^$1|" <<<"$ITEMS" | cut -d '|' -f "$2"; }

known() { grep -q "^$1|" <<<"$ITEMS"; }

list_items() {
  local name file sum urls url
  while IFS='|' read -r name file sum urls _; do
    [ -n "$name" ] || continue
    printf '%-14s %s\n%14s SHA-256 %s\n' "$name" "$file" '' "$([ "$sum" = - ] && echo 'not known' || echo "$sum")"
    for url in $urls; do printf '%14s %s\n' '' "$url"; done
  done <<<"$ITEMS"
  echo "the paper's trained models: fetch them by hand from $RELEASED"
}

case ${1:-} in -h | --help) usage; exit 0 ;; esac
python=python3
[ ! -x "$here/.venv/bin/python" ] || python=$here/.venv/bin/python
DATA=$(PYTHONPATH="$here" "$python" -m rlossctl.data.sets.downloads) || fail "needs Python 3.10 or newer as python3"
ITEMS=$DATA$WEIGHTS

while [ $# -gt 0 ]; do
  case $1 in
    --out | --mirror | --sums)
      [ $# -ge 2 ] || fail "$1 needs a value" 2
      case $1 in --out) out=$2 ;; --mirror) mirror=$2 ;; --sums) sums=$2 ;; esac
      shift 2
      ;;
    --no-prepare) prepare=no; shift ;;
    --accept) accept=yes; shift ;;
    --dry-run) dry=yes; shift ;;
    --list) list_items; exit 0 ;;
    -h | --help) usage; exit 0 ;;
    -*) fail "unknown option $1 (--help shows all)" 2 ;;
    *) known "$1" || fail "unknown item $1 (--list shows all)" 2; wanted+=("$1"); shift ;;
  esac
done
[ ${#wanted[@]} -gt 0 ] || wanted=(voc aug scribbles)
[ -z "$sums" ] || [ -r "$sums" ] || fail "the checksums cannot be read: $sums" 2
for tool in curl sha256sum unzip; do
  command -v "$tool" >/dev/null || fail "needs $tool: apt install curl coreutils unzip"
done
case $mirror in
  '' | https://* | file://*) ;;
  *://*) fail "a mirror is a folder or an https address, not $mirror" 2 ;;
  *) [ -d "$mirror" ] || fail "no such mirror folder: $mirror" 2; mirror="file://$(cd "$mirror" && pwd)" ;;
esac

# The checksum that a file in sha256sum's format has for a name, if any.
sum_in() {
  [ ! -r "$1" ] || awk -v name="$2" '{ file = $2; sub(/^\*/, "", file) } file == name { print $1; exit }' "$1"
}

expected_sum() {
  local found
  found=$(sum_in "$sums" "$2")
  [ -n "$found" ] || found=$(field "$1" 3)
  [ "$found" != - ] || found=$(sum_in "$out/downloads/accepted.sha256" "$2")
  echo "${found:--}"
}

addresses() {
  [ -z "$mirror" ] || echo "$mirror/$2"
  local url
  for url in $(field "$1" 4); do echo "$url"; done
}

# Whether a file with this checksum may be used; notes that it may.
confirmed() {
  local name=$1 found=$2 answer=no
  if [ "$accept" = yes ]; then
    answer=yes
  elif [ -t 0 ]; then
    read -r -p "  Nobody vouches for $name. Use it? [y/N] " answer || true
  fi
  case $answer in y | Y | yes | Yes) echo "$found  $name" >>"$out/downloads/accepted.sha256" ;; *) return 1 ;; esac
}

# Prints the verdict; 1 for a file that is not what it should be, 2 for one that nobody vouches for.
check() {
  local path=$1 name=$2 wanted=$3 found
  found=$(sha256sum "$path" | cut -d ' ' -f 1)
  if [ "$wanted" = - ]; then
    # Servers answer with pages that say "not found", too.
    case $name in *.zip) unzip -tqq "$path" >/dev/null 2>&1 || { echo "  not a whole zip archive" >&2; return 1; } ;; esac
    echo "  SHA-256 $found (not checked: no checksum is known)"
    confirmed "$name" "$found" || return 2
  elif [ "$wanted" = "$found" ]; then
    echo "  SHA-256 $found (as expected)"
  else
    echo "  SHA-256 $found, expected $wanted" >&2
    return 1
  fi
}

# Checks a file and gives it its name, or one that says what it is; the verdict as check() returns it.
settle() {
  local path=$1 target=$2 wanted=$3 verdict=0
  check "$path" "$(basename "$target")" "$wanted" || verdict=$?
  case $verdict in
    0) [ "$path" = "$target" ] || mv "$path" "$target" ;;
    2)
      [ "$path" = "$target.unchecked" ] || mv "$path" "$target.unchecked"
      echo "  not used, but kept as $target.unchecked: start again with --accept, or with its checksum in --sums" >&2
      ;;
    *)
      mv "$path" "$target.rejected"
      echo "  not the file; kept as $target.rejected" >&2
      ;;
  esac
  return "$verdict"
}

download() {
  curl --proto '=https,file' --proto-redir '=https' --fail --location --retry 3 --connect-timeout 20 --silent --show-error "$@"
}

fetch() {
  local name=$1 file target wanted url part verdict=0
  file=$(field "$name" 2)
  target=$out/downloads/$file
  wanted=$(expected_sum "$name" "$file")
  echo "$name: $file"
  if [ -f "$target" ]; then
    check "$target" "$file" "$wanted" && return 0
    fail "$target is there, but is not the file: move it away and start again"
  fi
  if [ -f "$target.unchecked" ] && [ "$dry" = no ]; then
    settle "$target.unchecked" "$target" "$wanted" || verdict=$?
    case $verdict in 0) return 0 ;; 2) return 1 ;; esac
  fi
  for url in $(addresses "$name" "$file"); do
    if [ "$dry" = yes ]; then echo "  would fetch $url"; continue; fi
    echo "  from $url"
    # What an earlier attempt left is continued, but only from the same address: mirrors may differ.
    part=$target.$(printf '%s' "$url" | sha256sum | cut -c 1-8).part
    download -C - -o "$part" "$url" || case $? in
      22 | 33 | 36) # the server cannot continue, or has no such file: ask for the whole
        if [ -f "$part" ] && download -o "$part.whole" "$url"; then
          mv "$part.whole" "$part"
        else
          rm -f "$part.whole"
          continue
        fi
        ;;
      *) continue ;; # broken off: what came stays for the next time
    esac
    verdict=0
    settle "$part" "$target" "$wanted" || verdict=$?
    case $verdict in 0) return 0 ;; 2) return 1 ;; esac
  done
  [ "$dry" = yes ] || { echo "error: $file could not be fetched; put it into a folder and name that with --mirror" >&2; return 1; }
}

has() { [[ " ${wanted[*]} " == *" $1 "* ]]; }

rlossctl_command() {
  if [ -n "${RLOSSCTL:-}" ]; then echo "$RLOSSCTL"; elif [ -x "$here/.venv/bin/rlossctl" ]; then echo "$here/.venv/bin/rlossctl"; else echo rlossctl; fi
}

run() {
  echo "+ $*"
  [ "$dry" = yes ] || "$@"
}

# The first file of a data set has its photos: without it there is nothing to lay out.
lay_out_data() {
  local set=$1 folder=$2 photos='' any=no name file parts=()
  while IFS='|' read -r name file _ _ _; do
    photos=${photos:-$name}
    if has "$name"; then any=yes; fi
    if has "$name" || [ -f "$out/downloads/$file" ]; then parts+=("$out/downloads/$file"); fi
  done < <(grep "|$set|$folder$" <<<"$DATA")
  [ "$any" = yes ] || return 0
  if has "$photos" || [ -f "$out/downloads/$(field "$photos" 2)" ]; then
    run "$(rlossctl_command)" data prepare "$set" -o "$out/$folder" "${parts[@]}"
  else
    echo "not laid out: the photos are in the item $photos"
  fi
}

lay_out() {
  local downloads=$out/downloads model=$out/VOC2012/pascal_scribble/model name set folder
  while IFS='|' read -r set folder; do lay_out_data "$set" "$folder"; done < <(cut -d '|' -f 5,6 <<<"$DATA" | uniq)
  if has vgg16_20M; then
    run mkdir -p "$model/deeplab_largeFOV"
    run cp -n "$downloads/vgg16_20M.caffemodel" "$model/deeplab_largeFOV/"
  fi
  for name in deeplab_vgg16 resnet-101; do
    if has "$name"; then
      run mkdir -p "$model/$name"
      run unzip -q -n -j "$downloads/$(field "$name" 2)" '*.caffemodel' -d "$model/$name"
    fi
  done
}

[ "$dry" = yes ] || mkdir -p "$out/downloads"
status=0
for item in "${wanted[@]}"; do fetch "$item" || status=1; done
[ "$status" = 0 ] || exit 1
[ "$prepare" = no ] || lay_out
