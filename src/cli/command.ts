/** What a command is: words, options, an example, and a function. Help, parsing and docs are made of these. */
import type { Arguments } from "./arguments.ts";
import type { Connection } from "./connect.ts";
import type { Screen } from "./screen.ts";

export type Format = "table" | "json" | "jsonl";

export interface Option {
  /** "flag" takes no value, "texts" may be repeated, "count" takes a whole number from 0, "span" is a time such as 90s or 1h30m. */
  readonly kind: "flag" | "text" | "texts" | "count" | "span";
  readonly short?: string;
  /** How its value is called in the help. */
  readonly value?: string;
  readonly about: string;
}

export interface Command {
  /** For example "execution why". */
  readonly words: string;
  /** Names of what follows the words, in order; one in brackets may be left out. */
  readonly operands: readonly string[];
  readonly about: string;
  readonly options: Readonly<Record<string, Option>>;
  /** Whole command lines as they are typed. At least one. */
  readonly examples: readonly string[];
  /** Answers the exit code. Refusals of the service and UsageError may be thrown. */
  run(call: Call): Promise<number>;
}

/** One call of a command. */
export interface Call {
  readonly args: Arguments;
  readonly format: Format;
  readonly screen: Screen;
  readonly connection: Connection;
  readonly input: AsyncIterable<Uint8Array | string>;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}
