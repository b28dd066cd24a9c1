# fish completion for evcat: put it in ~/.config/fish/completions, or: evcat completions fish | source

function __evcat_complete
    set -l words (commandline --current-process --tokenize --cut-at-cursor)
    EVCAT_COMPLETE=fish command $words[1] -- $words (commandline --current-token --cut-at-cursor) 2>/dev/null
end

complete --keep-order --command evcat --arguments '(__evcat_complete)'
