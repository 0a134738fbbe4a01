/** Messages of the contract → the chosen format. JSON has the contract's names, as under /api/v1 and in definitions. */
import { createRegistry, type DescMessage, type JsonObject, type JsonValue, type Message, type MessageShape, toJson } from "@bufbuild/protobuf";
import { DurationSchema, StructSchema, ValueSchema } from "@bufbuild/protobuf/wkt";
import * as details from "#gen/google/rpc/error_details_pb.js";
import type { Arguments } from "./arguments.ts";
import type { Call, Format } from "./command.ts";
import type { Screen } from "./screen.ts";
import { type Column, tableLines } from "./table.ts";
import { UsageError } from "./usage-error.ts";

/** What an Any of the contract may hold: details of a refusal inside an answer. */
const registry = createRegistry(details.file_google_rpc_error_details, DurationSchema, StructSchema, ValueSchema);

export function plainJson<D extends DescMessage>(schema: D, message: MessageShape<D>): JsonObject {
  return toJson(schema, message as MessageShape<D> & Message, { useProtoFieldName: true, registry }) as JsonObject;
}

/** One JSON value: indented for people who read it, one line for programs that read lines. */
export function printJson(value: JsonValue, format: Format, screen: Screen): void {
  screen.json(format === "jsonl" ? JSON.stringify(value) : JSON.stringify(value, undefined, 2));
}

/** One resource: JSON, or lines for people. */
export function printOne<D extends DescMessage>({ format, screen }: Call, schema: D, message: MessageShape<D>, lines: () => readonly string[]): void {
  if (format !== "table") return printJson(plainJson(schema, message), format, screen);
  for (const line of lines()) screen.line(line);
}

export interface Page<T> {
  readonly items: readonly T[];
  readonly nextPageToken: string;
}

/** Options of every list. */
export const listOptions = {
  limit: { kind: "count", about: "most items [50]" },
  "page-token": { kind: "text", value: "TOKEN", about: "go on after an earlier list" },
  fields: { kind: "text", value: "A,B", about: "columns of the table, by the names in the JSON (a.b goes into it)" },
} as const;

const pageSizeMax = 1_000;

/** Reads pages until the limit and shows them. `name` is the field of the list in its response. */
export async function printList<D extends DescMessage>(
  { args, format, screen }: Call,
  list: { readonly name: string; readonly schema: D; readonly columns: readonly Column[] },
  readPage: (pageSize: number, pageToken: string) => Promise<Page<MessageShape<D>>>,
): Promise<void> {
  const columns = chosenColumns(args, format) ?? list.columns;
  const limit = args.count("limit", 50);
  if (limit < 1) throw new UsageError("--limit is at least 1", args.command);
  const items: JsonObject[] = [];
  let pageToken = args.text("page-token");
  do {
    const page = await readPage(Math.min(limit - items.length, pageSizeMax), pageToken);
    items.push(...page.items.map((item) => plainJson(list.schema, item)));
    pageToken = page.nextPageToken;
  } while (pageToken !== "" && items.length < limit);
  if (format === "jsonl") for (const item of items) printJson(item, format, screen);
  if (format === "json") printJson({ [list.name]: items, ...(pageToken ? { next_page_token: pageToken } : {}) }, format, screen);
  if (format === "table") for (const line of tableLines(items, columns)) screen.line(line);
  if (pageToken !== "") screen.say(`there are more: --limit, or --page-token ${pageToken}`);
}

function chosenColumns(args: Arguments, format: Format): Column[] | undefined {
  if (!args.has("fields")) return undefined;
  if (format !== "table") throw new UsageError("--fields chooses columns of a table; JSON has all fields", args.command);
  return args
    .text("fields")
    .split(",")
    .map((path) => ({ head: path.trim(), path: path.trim() }));
}
