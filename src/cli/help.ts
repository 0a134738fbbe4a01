/** The help, made of the commands themselves. */

import type { Command, Option } from "./command.ts";
import { commonOptions } from "./parse-arguments.ts";

const indent = "  ";

/** Of one command. */
export function commandHelp(command: Command): string[] {
  const usage = ["pawf", command.words, ...command.operands, "[options]"].join(" ");
  return [
    usage,
    `${indent}${command.about}`,
    "",
    ...(Object.keys(command.options).length > 0 ? ["options", ...optionLines(command.options), ""] : []),
    "options of every command",
    ...optionLines(commonOptions),
    "",
    command.examples.length > 1 ? "examples" : "example",
    ...command.examples.map((example) => `${indent}${example}`),
  ];
}

/** Of all; of a group when its word is given, for example "execution". */
export function overview(commands: readonly Command[], group = ""): string[] {
  const shown = group === "" ? commands : commands.filter(({ words }) => words.startsWith(`${group} `));
  const rows = shown.map(({ words, operands, about }) => [[words, ...operands].join(" "), about] as const);
  return [
    "pawf COMMAND [options]",
    `${indent}calls the PyAirtable Workflow Service`,
    "",
    ...columns(rows),
    "",
    "options of every command",
    ...optionLines(commonOptions),
    "",
    "exit codes: 0 ok, 1 the execution did not end COMPLETED (or refused as things stand), 2 usage, 3 not found, 4 auth, 5 unavailable",
    "pawf COMMAND --help shows its options and an example",
  ];
}

function optionLines(options: Readonly<Record<string, Option>>): string[] {
  return columns(
    Object.entries(options).map(([name, option]) => [optionUsage(name, option), option.about + (option.kind === "texts" ? "; repeatable" : "")] as const),
  );
}

function optionUsage(name: string, { kind, short, value }: Option): string {
  const shown = kind === "flag" ? "" : ` ${value ?? (kind === "count" ? "N" : kind === "span" ? "TIME" : "TEXT")}`;
  return `${short ? `-${short}, ` : ""}--${name}${shown}`;
}

function columns(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `${indent}${left.padEnd(width)}  ${right}`);
}
