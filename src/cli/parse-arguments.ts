/** argv → a command and its values. Whatever is not understood is refused, nothing is passed over. */
import { parseArgs } from "node:util";
import { Arguments } from "./arguments.ts";
import type { Command, Option } from "./command.ts";
import { parseSpan } from "./spans.ts";
import { UsageError } from "./usage-error.ts";

/** Options that every command takes. */
export const commonOptions: Readonly<Record<string, Option>> = {
  url: { kind: "text", value: "URL", about: "address of the service [PAWF_URL, else http://localhost:8006]" },
  key: { kind: "text", value: "KEY", about: "API key, or @FILE that holds it [PAWF_API_KEY]" },
  output: { kind: "text", short: "o", value: "FORMAT", about: "table, json or jsonl [table]" },
  help: { kind: "flag", short: "h", about: "show this" },
};

/** The command whose words argv begins with; the longest wins. */
export function findCommand(argv: readonly string[], commands: readonly Command[]): Command | undefined {
  // Only the common options may stand before the words; what follows them is not looked at here.
  const { positionals: words } = parseArgs({ args: [...argv], options: parserOptions(commonOptions), allowPositionals: true, strict: false });
  const fits = commands.filter((command) => command.words.split(" ").every((word, index) => words[index] === word));
  return fits.sort((a, b) => b.words.length - a.words.length)[0];
}

export function parseArguments(argv: readonly string[], command: Command): Arguments {
  const specs = { ...commonOptions, ...command.options };
  const { values, positionals } = parsed(argv, command, specs);
  const found = new Map<string, string | boolean | readonly string[]>();
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined) continue;
    const all = value as readonly (string | boolean)[];
    const option = specs[name];
    if (option?.kind === "texts") found.set(name, all as readonly string[]);
    else if (all.length > 1) throw new UsageError(`--${name} can be given once`, command.words);
    else found.set(name, checked(name, option, all[0] ?? "", command));
  }
  const operands = positionals.slice(command.words.split(" ").length);
  if (!found.has("help")) nameOperands(operands, command, found);
  return new Arguments(command.words, found);
}

function parsed(argv: readonly string[], command: Command, specs: Readonly<Record<string, Option>>) {
  try {
    return parseArgs({ args: [...argv], options: parserOptions(specs), allowPositionals: true, strict: true });
  } catch (error) {
    const [message = ""] = (error instanceof Error ? error.message : String(error)).split(/\. To specify|\n/);
    throw new UsageError(message, command.words);
  }
}

function parserOptions(specs: Readonly<Record<string, Option>>) {
  return Object.fromEntries(
    Object.entries(specs).map(([name, { kind, short }]) => [
      name,
      { type: kind === "flag" ? ("boolean" as const) : ("string" as const), multiple: true, ...(short ? { short } : {}) },
    ]),
  );
}

function checked(name: string, option: Option | undefined, value: string | boolean, command: Command): string | boolean {
  if (option?.kind === "count" && !/^\d{1,9}$/.test(String(value))) throw new UsageError(`--${name} takes a whole number`, command.words);
  if (option?.kind === "span" && !parseSpan(String(value))) throw new UsageError(`--${name} takes a time such as 90s or 1h30m, at most 366d`, command.words);
  if (option?.kind === "text" && value === "") throw new UsageError(`--${name} is empty`, command.words);
  return value;
}

function nameOperands(given: readonly string[], command: Command, found: Map<string, string | boolean | readonly string[]>): void {
  const { operands } = command;
  if (given.length > operands.length) throw new UsageError(`"${given[operands.length]}" is too much`, command.words);
  operands.forEach((operand, index) => {
    const name = operand.replace(/[[\]]/g, "");
    const value = given[index];
    if (value !== undefined && value !== "") found.set(name, value);
    else if (name === operand || value === "") throw new UsageError(`${name} is missing`, command.words);
  });
}
