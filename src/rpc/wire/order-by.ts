/** `order_by` of listings: one field of a closed list, with ` desc` or ` asc` behind it. */
import { violationsError } from "../../base/errors.ts";

export interface Order<Field extends string> {
  readonly field: Field;
  readonly descending: boolean;
}

/** The default for an empty text. @throws AppError ORDER_BY_INVALID */
export function orderByOf<Field extends string>(text: string, fields: readonly Field[], otherwise: Order<Field>): Order<Field> {
  const words = text.trim().split(/\s+/);
  const [name = "", direction = "asc"] = words;
  if (name === "") return otherwise;
  const field = fields.find((known) => known === name);
  if (field && words.length <= 2 && (direction === "asc" || direction === "desc")) return { field, descending: direction === "desc" };
  const description = `takes one of ${fields.join(", ")}, with " desc" for descending order; not "${text.slice(0, 100)}"`;
  throw violationsError([{ field: "order_by", reason: "ORDER_BY_INVALID", description }]);
}
