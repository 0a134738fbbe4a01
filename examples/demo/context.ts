import type { Clients } from "./client.ts";
import type { Display } from "./display.ts";
import type { Server } from "./server.ts";
import type { Siblings } from "./siblings.ts";

/** What the parts of the demo share. */
export interface DemoContext {
  clients: Clients;
  readonly display: Display;
  readonly server: Server;
  readonly siblings: Siblings;
  /** Moment the demo began, by `performance.now()`. */
  readonly began: number;
}
