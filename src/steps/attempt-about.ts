/** Fields of the log lines of one attempt. */
export interface AttemptAbout {
  readonly executionId: string;
  readonly correlationId: string;
  readonly step: string;
  readonly attempt: number;
}
