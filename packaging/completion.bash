# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Completion for bao-virtio-dm, bao-dmctl and bao-seccomp. Their words are those of --help.

_bao_words() # PROGRAM: its options, and the words that begin its items
{
    "$1" --help 2>/dev/null | awk '
        /^ / {
            n = split($0, words, /[] ,|[(=]+/)
            for (i = 1; i <= n; i++)
                if (words[i] ~ /^--?[a-zA-Z]/) print words[i]
        }
        /^  [a-z]/ && !/^      / { split($0, words, / +/); print words[2] }' | sort -u
}

_bao_complete()
{
    local program=$1 word=$2 before=$3
    case $before in
        -c | --config) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
        --control | --told | export) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
        -a | --arch) mapfile -t COMPREPLY < <(compgen -W 'x86_64 aarch64 riscv64 all' -- "$word") ;;
        log-level) mapfile -t COMPREPLY < <(compgen -W 'error warning info debug' -- "$word") ;;
        list | show | hash | check | trace)
            mapfile -t COMPREPLY < <(compgen -W "$("$program" --help 2>/dev/null |
                awk 'found { print $1 } /^Policies:/ { found = 1 }') all" -- "$word")
            ;;
        *) mapfile -t COMPREPLY < <(compgen -W "$(_bao_words "$program")" -- "$word") ;;
    esac
}

complete -F _bao_complete bao-virtio-dm bao-dmctl bao-seccomp
