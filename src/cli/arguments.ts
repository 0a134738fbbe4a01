import type { Duration } from "@bufbuild/protobuf/wkt";
import { parseSpan } from "./spans.ts";
import { UsageError } from "./usage-error.ts";

/** Values of one call, by the names of options and operands. */
export class Arguments {
  readonly #values: ReadonlyMap<string, string | boolean | readonly string[]>;
  readonly command: string;

  constructor(command: string, values: ReadonlyMap<string, string | boolean | readonly string[]>) {
    this.command = command;
    this.#values = values;
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  flag(name: string): boolean {
    return this.#values.get(name) === true;
  }

  /** Empty when it was not given: in the contract's messages the same. */
  text(name: string): string {
    const value = this.#values.get(name);
    return typeof value === "string" ? value : "";
  }

  texts(name: string): readonly string[] {
    const value = this.#values.get(name);
    return Array.isArray(value) ? value : [];
  }

  count(name: string, fallback = 0): number {
    return this.has(name) ? Number(this.text(name)) : fallback;
  }

  span(name: string): Duration | undefined {
    return this.has(name) ? parseSpan(this.text(name)) : undefined;
  }

  /** One of a closed list, upper or lower case; undefined when it was not given. */
  choice<T>(name: string, choices: Readonly<Record<string, T>>): T | undefined {
    if (!this.has(name)) return undefined;
    const text = this.text(name).toLowerCase();
    const chosen = Object.hasOwn(choices, text) ? choices[text] : undefined;
    if (chosen === undefined) throw new UsageError(`--${name} is one of ${Object.keys(choices).join(", ")}`, this.command);
    return chosen;
  }
}
