/** The command without its process: what it reads and writes is given to it, so a test calls it as a script would. */
import { messageOf } from "../base/errors.ts";
import type { Arguments } from "./arguments.ts";
import type { Command, Format } from "./command.ts";
import { commands } from "./commands.ts";
import { connect, readTarget } from "./connect.ts";
import { exit } from "./exit-codes.ts";
import { commandHelp, overview } from "./help.ts";
import { findCommand, parseArguments } from "./parse-arguments.ts";
import { refusalOf } from "./refusal.ts";
import { createScreen, type Output, type Screen } from "./screen.ts";
import { UsageError } from "./usage-error.ts";

export interface World {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly out: Output;
  readonly err: Output;
  readonly input: AsyncIterable<Uint8Array | string>;
  /** Aborted when the caller has had enough. */
  readonly signal: AbortSignal;
}

/** Answers the exit code; never throws. */
export async function main(argv: readonly string[], world: World): Promise<number> {
  const screen = createScreen(world.out, world.err);
  let url = "";
  try {
    const command = findCommand(argv, commands);
    if (!command) return withoutCommand(argv, screen);
    const args = parseArguments(argv, command);
    if (args.flag("help")) return show(commandHelp(command), screen);
    const target = readTarget(args, world.env);
    url = target.url;
    return await runCommand(command, args, world, screen, target);
  } catch (error) {
    return tell(error, url, screen, world.signal);
  }
}

async function runCommand(command: Command, args: Arguments, world: World, screen: Screen, target: ReturnType<typeof readTarget>): Promise<number> {
  const format = args.choice<Format>("output", { table: "table", json: "json", jsonl: "jsonl" }) ?? "table";
  const connection = connect(target);
  try {
    return await command.run({ args, format, screen, connection, input: world.input, signal: world.signal });
  } finally {
    connection.close();
  }
}

function withoutCommand(argv: readonly string[], screen: Screen): number {
  const [first = ""] = argv;
  const isGroup = commands.some(({ words }) => words.startsWith(`${first} `));
  const asks = argv.length === 0 || argv.includes("--help") || argv.includes("-h");
  if (asks && (isGroup || argv.length === 0 || first.startsWith("-"))) return show(overview(commands, isGroup ? first : ""), screen);
  if (isGroup) {
    const verbs = commands.flatMap(({ words }) => (words.startsWith(`${first} `) ? [words.slice(first.length + 1)] : []));
    throw new UsageError(`pawf ${first} needs one of: ${verbs.join(", ")}`);
  }
  throw new UsageError(first.startsWith("-") ? "there is no command" : `"${first}" is no command`);
}

function show(lines: readonly string[], screen: Screen): number {
  for (const line of lines) screen.line(line);
  return exit.ok;
}

function tell(error: unknown, url: string, screen: Screen, signal: AbortSignal): number {
  if (signal.aborted) return exit.interrupted;
  try {
    const { exitCode, lines } = refusalOf(error, url);
    for (const line of lines) screen.say(line);
    return exitCode;
  } catch {
    // Neither the caller's mistake nor the service's word: this program's own.
    screen.say(`pawf: ${messageOf(error)}`);
    return exit.failed;
  }
}
