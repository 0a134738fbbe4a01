/** The command line itself is wrong. Its message says how to write it; nothing was sent. */
export class UsageError extends Error {
  /** Command whose help fits, for example "execution list"; empty = the whole. */
  readonly command: string;

  constructor(message: string, command = "") {
    super(message);
    this.name = "UsageError";
    this.command = command;
  }
}
