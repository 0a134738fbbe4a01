/** One difference between two definitions, templates or schemas. */
import type { Json } from "../base/json.ts";

export type ChangeKind = "added" | "removed" | "changed" | "moved";

export interface DefinitionChange {
  /** Proto path, steps by name: `steps[charge].http_request.url`. */
  readonly path: string;
  readonly kind: ChangeKind;
  /** Absent when it was added. A moved step tells its place: `{container, index}`. */
  readonly before?: Json;
  readonly after?: Json;
  /** Callers may notice: something became required, an output or a step went away. */
  readonly breaking: boolean;
}
