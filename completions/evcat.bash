# bash completion for evcat: put it where bash-completion looks, or: source <(evcat completions bash)

_evcat() {
    # bash cuts words at ':' and '=' too. What has no space before it belongs to the word before.
    local rest=${COMP_LINE:0:COMP_POINT} words=() last=-1 i piece blank
    for ((i = 0; i <= COMP_CWORD; i++)); do
        piece=${COMP_WORDS[i]}
        blank=${rest%%[![:space:]]*}
        rest=${rest#"$blank"}
        ((i == COMP_CWORD)) && piece=$rest
        rest=${rest#"$piece"}
        if [[ $last -ge 0 && -z $blank ]]; then
            words[last]+=$piece
        else
            words[++last]=$piece
        fi
    done
    # Typed as `or\ d`, meant as `or d`.
    local typed=${words[last]} current=$2
    IFS= read -d '' typed < <(printf '%s\0' "$typed")
    IFS= read -d '' current < <(printf '%s\0' "$current")
    words[last]=$typed
    local IFS=$'\013' completed
    completed=$(
        EVCAT_COMPLETE=bash _CLAP_IFS=$IFS _CLAP_COMPLETE_INDEX=$last _CLAP_COMPLETE_COMP_TYPE=$COMP_TYPE \
            "${1/#\~\//$HOME/}" -- "${words[@]}" 2>/dev/null
    ) || return 0
    read -r -d '' -a COMPREPLY < <(printf '%s\0' "$completed")
    # What bash will not replace, because it stands before such a cut, is not given again.
    local before=${typed%"$current"}
    [[ -n $before ]] && COMPREPLY=("${COMPREPLY[@]#"$before"}")
    # A name is one word to the shell and nothing to be run, whoever chose it.
    for i in "${!COMPREPLY[@]}"; do
        case ${COMPREPLY[i]} in
            "~/"*) printf -v piece '~/%q' "${COMPREPLY[i]#"~/"}" ;;
            *) printf -v piece %q "${COMPREPLY[i]}" ;;
        esac
        COMPREPLY[i]=$piece
    done
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=/:] ]]; then
        compopt -o nospace 2>/dev/null
    fi
    return 0
}

if [[ ${BASH_VERSINFO[0]} -gt 4 || (${BASH_VERSINFO[0]} -eq 4 && ${BASH_VERSINFO[1]} -ge 4) ]]; then
    complete -o bashdefault -o nosort -F _evcat evcat
else
    complete -o bashdefault -F _evcat evcat
fi
