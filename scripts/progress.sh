# How the scripts speak: sourced by setup, demo and check.

# fail CODE MESSAGE: one line on stderr, then exit.
fail() {
  printf '%s: error: %s\n' "$PROGRAM" "$2" >&2
  exit "$1"
}

# say MESSAGE
say() { printf '%s: %s\n' "$PROGRAM" "$1"; }

# quietly NAME COMMAND...: runs it with its output in a log and shows the
# seconds that passed: in place on a terminal, else a line every 15 seconds.
# The log's path is left in LOG.
quietly() {
  local name=$1 start=$SECONDS pid rc=0 shown=0
  shift
  LOG=$(mktemp "${TMPDIR:-/tmp}/chorus-log.XXXXXX")
  [ -t 1 ] || say "$name ..."
  "$@" >"$LOG" 2>&1 </dev/null &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    local passed=$((SECONDS - start))
    if [ -t 1 ]; then
      printf '\r%s: %s ... %d s' "$PROGRAM" "$name" "$passed"
    elif [ $((passed / 15)) -gt "$shown" ]; then
      shown=$((passed / 15))
      say "$name ... $passed s"
    fi
    sleep 0.2
  done
  wait "$pid" || rc=$?
  [ -t 1 ] && printf '\r\033[K'
  if [ $rc = 0 ]; then
    say "$name: done in $((SECONDS - start)) s"
    rm -f "$LOG"
  fi
  return $rc
}
