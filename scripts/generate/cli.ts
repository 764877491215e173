import type { Command } from 'commander';
import type { Io } from '../../src/cli/commands/io.ts';
import { buildProgram } from '../../src/cli/program.ts';
import { painter } from '../../src/report/terminal.ts';

/** docs/reference/cli.md: what `--help` says of each command. */
export function cliReference(): string {
  const text: string[] = [];
  const sections = commands(buildProgram(silent, { exitCode: 0 })).map(({ name, command }) => {
    text.length = 0;
    // The width of the terminal that generates it must not matter.
    command.configureOutput({ writeOut: (chunk) => text.push(chunk), getOutHelpWidth: () => 80 });
    command.outputHelp();
    return `## ${name}\n\n\`\`\`\n${text.join('').trimEnd()}\n\`\`\`\n`;
  });
  return `# Command line\n\nGenerated from the command's own help by \`npm run generate\`.\n\n${sections.join('\n')}`;
}

/** The program and every command that its help lists, with the commands below them. */
function commands(command: Command, above = ''): readonly { name: string; command: Command }[] {
  const name = `${above}${command.name()}`;
  const below = command.createHelp().visibleCommands(command);
  return [
    { name, command },
    ...below.filter((child) => child.name() !== 'help').flatMap((child) => commands(child, `${name} `)),
  ];
}

const silent: Io = {
  out: () => undefined,
  err: () => undefined,
  isTerminal: false,
  columns: () => 80,
  paint: painter(false),
  isColored: false,
  cwd: '/',
};
