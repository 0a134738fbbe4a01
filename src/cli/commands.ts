/** All commands, in the order of the help. */
import type { Command } from "./command.ts";
import { againCommands } from "./commands/again.ts";
import { applyCommand } from "./commands/apply.ts";
import { callCommand } from "./commands/call.ts";
import { controlCommands } from "./commands/control.ts";
import { definitionCommands } from "./commands/definitions.ts";
import { executionCommands } from "./commands/executions.ts";
import { keyCommands, taskCommands } from "./commands/keys.ts";
import { runCommand, watchCommand } from "./commands/run.ts";
import { sagaCommands } from "./commands/sagas.ts";

export const commands: readonly Command[] = [
  runCommand,
  watchCommand,
  ...executionCommands,
  ...controlCommands,
  ...againCommands,
  ...definitionCommands,
  applyCommand,
  ...sagaCommands,
  ...taskCommands,
  ...keyCommands,
  callCommand,
];
