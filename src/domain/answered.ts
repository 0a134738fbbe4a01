/** What a command did where its asker has to know more than that it was done. */
import type { JsonObject } from "../base/json.ts";
import type { NewEvent } from "./events.ts";

export class Answered {
  readonly events: readonly NewEvent[];
  /** Stored as JSON while another replica's asker waits for it. */
  readonly answer: JsonObject;

  constructor(events: readonly NewEvent[], answer: JsonObject) {
    this.events = events;
    this.answer = answer;
  }
}
