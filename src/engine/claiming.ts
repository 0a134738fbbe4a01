/** Commands that come while their execution is being claimed. */
import type { JsonObject } from "../base/json.ts";
import type { ExecutionRun } from "./run-execution.ts";

/** A claim of one execution under way, and the commands that wait for its run. */
export interface Claiming {
  readonly executionId: string;
  readonly joined: ((run: ExecutionRun) => void)[];
  readonly over: Promise<void>;
}

/** A promise that is not to be awaited by the function that hands it over. */
export interface Given {
  readonly promise: Promise<JsonObject | undefined>;
}
