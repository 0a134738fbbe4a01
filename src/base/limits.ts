/**
 * Every bound that code holds: noun first, unit and qualifier last, each with the reason for its size. What one field of a request
 * may hold (labels, cases, chunks …) is a rule of the contract and stands there. The proto comments show the same figures;
 * errors name the limit that was met.
 */
export const limits = {
  /** One gRPC message after decompression. Above it a single frame could take the process down (306 KB of gzip became 600 MB). */
  messageBytesMax: 4 * 1024 * 1024,
  /** Objects and lists inside each other. Deep values overflow recursive encoders in clients that cannot be changed. */
  jsonDepthMax: 32,
  /** One workflow definition as JSON text. */
  definitionBytesMax: 1024 * 1024,
  /** Steps of one definition, nested ones counted. Keeps one decision below a millisecond. */
  stepsPerDefinitionMax: 1_000,
  /** Step runs of one execution, loop items and attempts' steps counted once. Bounds the log that recovery reads. */
  stepRunsPerExecutionMax: 100_000,
  /** Blocks inside blocks. A reader loses the thread long before. */
  blockDepthMax: 8,
  branchesPerParallelMax: 100,
  /** Shortest grace after the deadline of an action that was never heard of, before it is undone: 5 s. */
  undoGraceMsMin: 5_000,
  itemsPerForEachMax: 10_000,
  variablesPerExecutionMax: 100,
  /** Input of one execution. */
  inputBytesMax: 4 * 1024 * 1024 - 64 * 1024,
  /** Result of one step; larger ones belong into a file. */
  resultBytesMax: 5 * 1024 * 1024,
  /** One file that comes from outside. The formats that steps read are streamed up to this size within their memory cap. */
  fileBytesMax: 100 * 1024 * 1024,
  /** A file that a step makes of another one: as JSON or XML a table is two or three times as large. */
  convertedBytesMax: 256 * 1024 * 1024,
  /** Files of one tenant; their bytes are summed when a chunk arrives. */
  filesPerTenantMax: 10_000,
  fileBytesPerTenantMax: 10 * 1024 * 1024 * 1024,
  fileTtlMsDefault: 7 * 86_400_000,
  retryIntervalMsMin: 10,
  /** Cap of a delay that a server asks for (Retry-After): 1 hour. */
  serverDelayMsMax: 3_600_000,

  /** Expressions of one definition: at 25 µs each, compiling them keeps the event loop for 0.1 s at most. */
  expressionsPerDefinitionMax: 4_000,
  expressionCharactersMax: 4_096,
  expressionDepthMax: 32,
  /** Operations of one evaluation; three nested maps over 200 items would otherwise block the loop for seconds. */
  expressionOperationsMax: 10_000,
  expressionMsMax: 50,
  expressionResultBytesMax: 256 * 1024,
  /** Text that a template with several `{{ }}` parts may produce. */
  templateTextBytesMax: 1024 * 1024,

  /** Rows of one journal statement: small enough for two flights to overlap, large enough to share one commit. */
  batchRowsMax: 128,
  /** Payload bytes of one journal statement. */
  batchBytesMax: 4 * 1024 * 1024,
  /** Appends that wait for the journal before new starts are refused. */
  backlogStartsMax: 5_000,

  /** Executions below one another: deeper than anybody means, and shallow enough that an undo reaches the last one. */
  childDepthMax: 8,

  /** Events that one execution has not taken, or that are kept under one type and key: a wait reads them one by one. */
  signalsStoredMax: 1_000,
  /** Stored events of one tenant. */
  signalsPerTenantMax: 50_000,
  signalDataBytesMax: 1024 * 1024,
  /** How long an event is kept for waits to come, unless its sender says otherwise: a day; at most 30 days. */
  signalTtlMsDefault: 86_400_000,
  signalTtlMsMax: 30 * 86_400_000,

  pageSizeDefault: 50,
  /** Of 1 to 9. */
  priorityDefault: 5,
  pageSizeMax: 1_000,
  /** A response page is cut before it reaches this size, whatever page_size says. */
  pageBytesMax: 3 * 1024 * 1024,
  pageTokenBytesMax: 1_024,
  filterBytesMax: 4_096,
  requestIdCharactersMax: 36,
  /** Repeatable commands that an execution knows again; an operator's thousandth after a repeat's first is none of its repeats. */
  changeKeysPerExecutionMax: 1_000,
  correlationIdCharactersMax: 128,
  /** What W3C asks everybody to pass on. */
  tracestateCharactersMax: 512,
  /** Of one `baggage` header; what came with a start may take half of it, the rest is for the step's own ids. */
  baggageBytesMax: 8_192,
  baggageMembersMax: 64,

  /** Longest wait of a long poll: 60 s, below common proxy timeouts. */
  waitMsMax: 60_000,
  /** Silence on a watch before a heartbeat is sent. */
  watchHeartbeatMs: 10_000,
  /** Age at which a watch is asked to reconnect, so that replicas can be drained and load spreads. */
  watchAgeMsMax: 30 * 60_000,
  /** Events a slow watcher may lag behind in memory before it is served from the database again. */
  watchBacklogMax: 256,
  /** Streams of tasks that are open at one replica: of one tenant unless configured, and of all. */
  taskStreamsPerTenantMax: 1_000,
  taskStreamsMax: 10_000,
  /** Streams of the audit log that are open at one replica, of one tenant and of all: each asks the database once a second. */
  auditStreamsPerTenantMax: 16,
  auditStreamsMax: 256,
  /** API keys of one tenant that are valid. */
  keysPerTenantMax: 1_000,
  /** Secrets of one tenant. */
  secretsPerTenantMax: 1_000,
  /** How long the secret before goes on beside the new one of a rotated key, unless its caller says otherwise: a day. */
  keyKeepMsDefault: 86_400_000,
  /** Names of workers that are remembered of one tenant; each is forgotten a day after it was seen last. */
  workersPerTenantMax: 10_000,

  /** Validity of a replica's lease unless configured; a frozen replica is replaced after it. At least a renewal, its margin and a slow moment. */
  leaseMsDefault: 5_000,
  leaseMsMin: 4_000,
  leaseMsMax: 120_000,
  leaseRenewMs: 1_500,
  /** Safety distance between the end of trust in the own lease and its end in the database. */
  leaseMarginMs: 1_000,
  /** Executions that one claim takes. */
  claimRowsMax: 200,
  /** Longest pause between two claims when nothing announces work. */
  claimPollMs: 500,
  /** Executions one replica drives in memory at once. */
  drivenExecutionsMax: 2_000,
  /** Calls to one host and port at a time from this process: as many as the HTTP client opens connections. */
  destinationCallsMax: 64,
  /** Attempts that wait in memory for one of them; further ones are put back for a moment. */
  destinationWaitingMax: 1_000,
  /** A wait shorter than this stays in memory: parking and claiming would cost more than it saves. */
  parkAfterMs: 2_000,
} as const;
