/** What every command's help has. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { Command } from 'commander';
import { COMMANDS } from '../../cli/commands.ts';

/** Commands that do something, with their names as they are typed. */
const leaves = (command: Command, above = ''): [string, Command][] => {
  const name = `${above} ${command.name()}`;
  return command.commands.length === 0 ? [[name, command]] : command.commands.flatMap((each) => leaves(each, name));
};

const commands = await Promise.all(Object.values(COMMANDS).map((load) => load()));

for (const [name, command] of commands.flatMap((each) => leaves(each)))
  it(`the help of onebyte${name} shows --json and an example of itself`, () => {
    let help = '';
    const writeOut = (text: string): void => {
      help += text;
    };
    command.configureOutput({ writeOut }).outputHelp();
    assert.match(help, /^ +--json /m);
    assert.match(help, new RegExp(`^Example:\\n +onebyte${name}\\b`, 'm'));
    assert.doesNotMatch(help, /undefined/);
  });

it('knows each command by the name that it is loaded by', () => {
  assert.deepEqual(
    commands.map((command) => command.name()),
    Object.keys(COMMANDS),
  );
});
