
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'evcat' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'evcat'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'evcat' {
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('--broker', '--broker', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('-X', '-X ', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--option', '--option', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'The longest time without the broker, at the start or midway; 0 waits for ever')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, decided for stdout and stderr by themselves; NO_COLOR is honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Progress bars on stderr')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print the version in one line')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print the version, the brokers compiled in and their client libraries')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('publish', 'publish', [CompletionResultType]::ParameterValue, 'Publish')
            [CompletionResult]::new('subscribe', 'subscribe', [CompletionResultType]::ParameterValue, 'Subscribe')
            [CompletionResult]::new('tail', 'tail', [CompletionResultType]::ParameterValue, 'Tail')
            [CompletionResult]::new('replay', 'replay', [CompletionResultType]::ParameterValue, 'Replay')
            [CompletionResult]::new('dlq', 'dlq', [CompletionResultType]::ParameterValue, 'Dlq')
            [CompletionResult]::new('topics', 'topics', [CompletionResultType]::ParameterValue, 'List, describe, make and delete topics')
            [CompletionResult]::new('groups', 'groups', [CompletionResultType]::ParameterValue, 'List, make, move and delete groups, and tell their lag')
            [CompletionResult]::new('profiles', 'profiles', [CompletionResultType]::ParameterValue, 'Name brokers, choose the one in use, and check that one can be reached')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print the script that completes commands, options and live names of topics, groups and profiles')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Show the first screen, a command''s help, or a page: story, exit-codes, filters, formats, brokers')
            break
        }
        'evcat;publish' {
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('--broker', '--broker', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('-X', '-X ', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--option', '--option', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'The longest time without the broker, at the start or midway; 0 waits for ever')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, decided for stdout and stderr by themselves; NO_COLOR is honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Progress bars on stderr')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'evcat;subscribe' {
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('--broker', '--broker', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('-X', '-X ', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--option', '--option', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'The longest time without the broker, at the start or midway; 0 waits for ever')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, decided for stdout and stderr by themselves; NO_COLOR is honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Progress bars on stderr')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'evcat;tail' {
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('--broker', '--broker', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('-X', '-X ', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--option', '--option', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'The longest time without the broker, at the start or midway; 0 waits for ever')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, decided for stdout and stderr by themselves; NO_COLOR is honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Progress bars on stderr')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'evcat;replay' {
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('--broker', '--broker', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('-X', '-X ', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--option', '--option', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'The longest time without the broker, at the start or midway; 0 waits for ever')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, decided for stdout and stderr by themselves; NO_COLOR is honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Progress bars on stderr')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'evcat;dlq' {
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('--broker', '--broker', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('-X', '-X ', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--option', '--option', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'The longest time without the broker, at the start or midway; 0 waits for ever')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, decided for stdout and stderr by themselves; NO_COLOR is honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Progress bars on stderr')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'evcat;topics' {
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('--broker', '--broker', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('-X', '-X ', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--option', '--option', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'The longest time without the broker, at the start or midway; 0 waits for ever')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, decided for stdout and stderr by themselves; NO_COLOR is honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Progress bars on stderr')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'The topics, with their size, age, groups and dead letters')
            [CompletionResult]::new('describe', 'describe', [CompletionResultType]::ParameterValue, 'All that the broker tells of one topic')
            [CompletionResult]::new('create', 'create', [CompletionResultType]::ParameterValue, 'Make a topic')
            [CompletionResult]::new('delete', 'delete', [CompletionResultType]::ParameterValue, 'Delete a topic, its events and its groups')
            [CompletionResult]::new('gc', 'gc', [CompletionResultType]::ParameterValue, 'Remove the temporary things that a killed evcat left behind')
            break
        }
        'evcat;topics;list' {
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How to print')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How to print')
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('--broker', '--broker', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('-X', '-X ', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--option', '--option', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'The longest time without the broker, at the start or midway; 0 waits for ever')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, decided for stdout and stderr by themselves; NO_COLOR is honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Progress bars on stderr')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'evcat;topics;describe' {
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How to print')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How to print')
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('--broker', '--broker', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('-X', '-X ', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--option', '--option', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'The longest time without the broker, at the start or midway; 0 waits for ever')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, decided for stdout and stderr by themselves; NO_COLOR is honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Progress bars on stderr')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'evcat;topics;create' {
            [CompletionResult]::new('--partitions', '--partitions', [CompletionResultType]::ParameterName, 'How many partitions, where the broker has them')
            [CompletionResult]::new('--retention', '--retention', [CompletionResultType]::ParameterName, 'Keep events so long (`7d`), or so many (`100000`); without it for ever, or as long as the broker likes')
            [CompletionResult]::new('--dedup', '--dedup', [CompletionResultType]::ParameterName, 'Acknowledge an event whose id was seen within that time as a duplicate, and do not store it again')
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('--broker', '--broker', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('-X', '-X ', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--option', '--option', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'The longest time without the broker, at the start or midway; 0 waits for ever')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, decided for stdout and stderr by themselves; NO_COLOR is honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Progress bars on stderr')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'evcat;topics;delete' {
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('--broker', '--broker', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('-X', '-X ', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--option', '--option', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'The longest time without the broker, at the start or midway; 0 waits for ever')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, decided for stdout and stderr by themselves; NO_COLOR is honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Progress bars on stderr')
            [CompletionResult]::new('--yes', '--yes', [CompletionResultType]::ParameterName, 'Do it without a question')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'evcat;topics;gc' {
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('--broker', '--broker', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('-X', '-X ', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--option', '--option', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'The longest time without the broker, at the start or midway; 0 waits for ever')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, decided for stdout and stderr by themselves; NO_COLOR is honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Progress bars on stderr')
            [CompletionResult]::new('--yes', '--yes', [CompletionResultType]::ParameterName, 'Do it without a question')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'evcat;groups' {
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('--broker', '--broker', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('-X', '-X ', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--option', '--option', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'The longest time without the broker, at the start or midway; 0 waits for ever')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, decided for stdout and stderr by themselves; NO_COLOR is honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Progress bars on stderr')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'The groups, with their members and lag')
            [CompletionResult]::new('create', 'create', [CompletionResultType]::ParameterValue, 'Make a group on topics, so that it gets what is published from now on, and leave')
            [CompletionResult]::new('lag', 'lag', [CompletionResultType]::ParameterValue, 'How far behind each group is')
            [CompletionResult]::new('seek', 'seek', [CompletionResultType]::ParameterValue, 'Move a group to another place in its topics; refused while members are at work')
            [CompletionResult]::new('delete', 'delete', [CompletionResultType]::ParameterValue, 'Delete a group from all its topics')
            break
        }
        'evcat;groups;list' {
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How to print')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How to print')
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('--broker', '--broker', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('-X', '-X ', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--option', '--option', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'The longest time without the broker, at the start or midway; 0 waits for ever')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, decided for stdout and stderr by themselves; NO_COLOR is honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Progress bars on stderr')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'evcat;groups;create' {
            [CompletionResult]::new('--from', '--from', [CompletionResultType]::ParameterName, 'Where it starts: beginning, now, 10m (ago), a time, a date, a position')
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('--broker', '--broker', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('-X', '-X ', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--option', '--option', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'The longest time without the broker, at the start or midway; 0 waits for ever')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, decided for stdout and stderr by themselves; NO_COLOR is honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Progress bars on stderr')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'evcat;groups;lag' {
            [CompletionResult]::new('--max', '--max', [CompletionResultType]::ParameterName, 'Exit 3 if any lag is above N')
            [CompletionResult]::new('--for', '--for', [CompletionResultType]::ParameterName, 'With --max, wait so long for it; with --watch, end after it')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How to print')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How to print')
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('--broker', '--broker', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('-X', '-X ', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--option', '--option', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'The longest time without the broker, at the start or midway; 0 waits for ever')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, decided for stdout and stderr by themselves; NO_COLOR is honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Progress bars on stderr')
            [CompletionResult]::new('--watch', '--watch', [CompletionResultType]::ParameterName, 'Redraw every two seconds, with rates')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'evcat;groups;seek' {
            [CompletionResult]::new('--from', '--from', [CompletionResultType]::ParameterName, 'Where it goes on: beginning, now, 10m (ago), a time, a date, a position')
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('--broker', '--broker', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('-X', '-X ', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--option', '--option', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'The longest time without the broker, at the start or midway; 0 waits for ever')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, decided for stdout and stderr by themselves; NO_COLOR is honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Progress bars on stderr')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Say from where to where, and change nothing')
            [CompletionResult]::new('--yes', '--yes', [CompletionResultType]::ParameterName, 'Do it without a question')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'evcat;groups;delete' {
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('--broker', '--broker', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('-X', '-X ', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--option', '--option', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'The longest time without the broker, at the start or midway; 0 waits for ever')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, decided for stdout and stderr by themselves; NO_COLOR is honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Progress bars on stderr')
            [CompletionResult]::new('--yes', '--yes', [CompletionResultType]::ParameterName, 'Do it without a question')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'evcat;profiles' {
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('--broker', '--broker', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('-X', '-X ', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--option', '--option', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'The longest time without the broker, at the start or midway; 0 waits for ever')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, decided for stdout and stderr by themselves; NO_COLOR is honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Progress bars on stderr')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'The profiles, and which one is in use')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'All that one profile says, with its secrets masked')
            [CompletionResult]::new('use', 'use', [CompletionResultType]::ParameterValue, 'Make a profile the one that counts where no broker is named')
            [CompletionResult]::new('add', 'add', [CompletionResultType]::ParameterValue, 'Add a profile')
            [CompletionResult]::new('remove', 'remove', [CompletionResultType]::ParameterValue, 'Remove a profile; nothing happens to its broker')
            [CompletionResult]::new('check', 'check', [CompletionResultType]::ParameterValue, 'Reach the broker, log in, and say what was found: server, version, rights')
            break
        }
        'evcat;profiles;list' {
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How to print')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How to print')
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('--broker', '--broker', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('-X', '-X ', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--option', '--option', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'The longest time without the broker, at the start or midway; 0 waits for ever')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, decided for stdout and stderr by themselves; NO_COLOR is honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Progress bars on stderr')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'evcat;profiles;show' {
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'How to print')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'How to print')
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('--broker', '--broker', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('-X', '-X ', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--option', '--option', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'The longest time without the broker, at the start or midway; 0 waits for ever')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, decided for stdout and stderr by themselves; NO_COLOR is honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Progress bars on stderr')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'evcat;profiles;use' {
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('--broker', '--broker', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('-X', '-X ', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--option', '--option', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'The longest time without the broker, at the start or midway; 0 waits for ever')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, decided for stdout and stderr by themselves; NO_COLOR is honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Progress bars on stderr')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'evcat;profiles;add' {
            [CompletionResult]::new('--password-env', '--password-env', [CompletionResultType]::ParameterName, 'Take the password from this environment variable')
            [CompletionResult]::new('--password-file', '--password-file', [CompletionResultType]::ParameterName, 'Take the password from the first line of this file')
            [CompletionResult]::new('--password-command', '--password-command', [CompletionResultType]::ParameterName, 'Take the password from the first line that this shell command prints')
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('--broker', '--broker', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('-X', '-X ', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--option', '--option', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'The longest time without the broker, at the start or midway; 0 waits for ever')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, decided for stdout and stderr by themselves; NO_COLOR is honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Progress bars on stderr')
            [CompletionResult]::new('--read-only', '--read-only', [CompletionResultType]::ParameterName, 'Refuse every write through this profile')
            [CompletionResult]::new('--use', '--use', [CompletionResultType]::ParameterName, 'Make it the profile in use')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'evcat;profiles;remove' {
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('--broker', '--broker', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('-X', '-X ', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--option', '--option', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'The longest time without the broker, at the start or midway; 0 waits for ever')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, decided for stdout and stderr by themselves; NO_COLOR is honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Progress bars on stderr')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'evcat;profiles;check' {
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('--broker', '--broker', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('-X', '-X ', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--option', '--option', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'The longest time without the broker, at the start or midway; 0 waits for ever')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, decided for stdout and stderr by themselves; NO_COLOR is honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Progress bars on stderr')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'evcat;completions' {
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('--broker', '--broker', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('-X', '-X ', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--option', '--option', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'The longest time without the broker, at the start or midway; 0 waits for ever')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, decided for stdout and stderr by themselves; NO_COLOR is honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Progress bars on stderr')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'evcat;help' {
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('--broker', '--broker', [CompletionResultType]::ParameterName, 'The broker: a URL or the name of a profile [env: EVCAT_BROKER; else the profile in use; else local:]')
            [CompletionResult]::new('-X', '-X ', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--option', '--option', [CompletionResultType]::ParameterName, 'Hand an option to the broker''s client; repeatable; `-X help` lists them')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'The longest time without the broker, at the start or midway; 0 waits for ever')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Colour, decided for stdout and stderr by themselves; NO_COLOR is honoured')
            [CompletionResult]::new('--progress', '--progress', [CompletionResultType]::ParameterName, 'Progress bars on stderr')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Say nothing but warnings and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say more: causes of errors, raw headers')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
