import type { Command } from 'commander';
import { ParityError } from '../support/error.ts';

const shells = ['bash', 'zsh', 'fish'] as const;

/** Commands and options as a shell completes them, read from the program itself so that they cannot drift. */
interface Word {
  readonly name: string;
  readonly description: string;
  readonly options: readonly { readonly flag: string; readonly description: string }[];
  /** Words that may follow: sub-commands, or what an argument is one of. */
  readonly words: readonly string[];
  readonly takesFile: boolean;
}

/**
 * A completion script for a shell, to be sourced. `fields` are what `parity explain` takes.
 * Throws `BadUsage` for a shell that is not known.
 */
export function completion(shell: string, program: Command, fields: readonly string[]): string {
  const words = wordsOf(program, fields);
  switch (shells.find((known) => known === shell)) {
    case 'bash':
      return bash(words);
    case 'zsh':
      return `#compdef parity\nautoload -U +X bashcompinit && bashcompinit\n${bash(words)}`;
    case 'fish':
      return fish(words);
    case undefined:
      throw new ParityError('BadUsage', `there is no completion for the shell '${shell}'`, {
        advice: `Known are ${shells.join(', ')}.`,
      });
  }
}

function wordsOf(program: Command, fields: readonly string[]): Word[] {
  return program
    .createHelp()
    .visibleCommands(program)
    .filter((command) => command.name() !== 'help')
    .map((command) => ({
      name: command.name(),
      description: command.description().split('\n')[0] ?? '',
      options: command
        .createHelp()
        .visibleOptions(command)
        .flatMap(({ long, description }) => (typeof long === 'string' ? [{ flag: long, description }] : [])),
      words: followers(command, fields),
      takesFile: command.registeredArguments.some((argument) => /manifest|location|baseline/i.test(argument.name())),
    }));
}

function followers(command: Command, fields: readonly string[]): readonly string[] {
  if (command.name() === 'explain') return fields;
  if (command.name() === 'completion') return shells;
  return command.commands.map((sub) => sub.name());
}

function bash(words: readonly Word[]): string {
  const cases = words.map(({ name, options, words, takesFile }) => {
    const choices = [...options.map(({ flag }) => flag), ...words].join(' ');
    const files = takesFile ? ' $(compgen -f -- "$current")' : '';
    return `    ${name}) COMPREPLY=( $(compgen -W '${choices}' -- "$current")${files} ) ;;`;
  });
  return `# parity completion; load it with: source <(parity completion bash)
_parity() {
  local current="\${COMP_WORDS[COMP_CWORD]}"
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=( $(compgen -W '${words.map(({ name }) => name).join(' ')} --help --version' -- "$current") )
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
  esac
}
complete -o filenames -F _parity parity
`;
}

function fish(words: readonly Word[]): string {
  const quote = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const lines = words.flatMap(({ name, description, options, words, takesFile }) => [
    `complete -c parity -n __fish_use_subcommand -f -a ${name} -d ${quote(description)}`,
    ...(takesFile ? [] : [`complete -c parity -n '__fish_seen_subcommand_from ${name}' -f`]),
    ...options.map(
      (option) =>
        `complete -c parity -n '__fish_seen_subcommand_from ${name}' -l ${option.flag.slice(2)} -d ${quote(option.description)}`,
    ),
    ...(words.length === 0
      ? []
      : [`complete -c parity -n '__fish_seen_subcommand_from ${name}' -a ${quote(words.join(' '))}`]),
  ]);
  return `# parity completion; load it with: parity completion fish | source\n${lines.join('\n')}\n`;
}
