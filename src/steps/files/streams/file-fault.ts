/** How the reading of a stream ends early. Thrown inside of this folder only; `stream-task.ts` makes it an outcome. */
import { type Failure, failure } from "../../../domain/failure.ts";
import { wholeBytesMax } from "../file-job.ts";

export class FileFault extends Error {
  readonly failure: Failure;

  constructor(reason: Failure) {
    super(reason.message);
    this.failure = reason;
  }
}

/** For what cannot be done piece by piece. */
export function needsWhole(what: string): FileFault {
  return new FileFault(failure("LIMIT.BODY", `${what} has to be read whole, and the file is larger than ${wholeBytesMax} bytes`));
}
