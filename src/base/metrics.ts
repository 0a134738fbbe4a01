/**
 * Counters, histograms and gauges, made to be cheap where they are counted: adding is one array or field write on a cell
 * that the caller keeps, and everything else (names, labels, text, export) happens when somebody collects. Labels are
 * closed lists or bounded by `seriesMax`; ids, names and tenants never are labels.
 */
export interface MetricOptions {
  /** As Prometheus spells it: base units, `_total` for counters. */
  readonly name: string;
  readonly help: string;
}

export interface LabelledOptions extends MetricOptions {
  readonly labels: readonly string[];
}

export interface HistogramOptions extends LabelledOptions {
  /** Upper bounds of the buckets, ascending; one more bucket takes what lies above. */
  readonly bounds: readonly number[];
}

export type MetricKind = "counter" | "gauge" | "histogram";

/** What one metric says at one moment. */
export interface MetricFamily extends LabelledOptions {
  readonly kind: MetricKind;
  readonly bounds: readonly number[];
  readonly series: readonly Series[];
}

export interface Series {
  /** One value for each label of the family. */
  readonly labels: readonly string[];
  readonly value: number | HistogramValue;
}

export interface HistogramValue {
  /** One count for each bound and one for what lies above; not cumulated. */
  readonly counts: readonly number[];
  readonly sum: number;
  readonly count: number;
}

export class Counter {
  #value = 0;

  /** `amount` must not be negative. */
  add(amount = 1): void {
    this.#value += amount;
  }

  read(): number {
    return this.#value;
  }
}

export class Histogram {
  /** Upper ends of its buckets. */
  readonly bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.#counts = Array.from({ length: bounds.length + 1 }, () => 0);
  }

  record(value: number): void {
    const { bounds } = this;
    let bucket = 0;
    while (bucket < bounds.length && value > (bounds[bucket] as number)) bucket++;
    (this.#counts[bucket] as number)++;
    this.#sum += value;
  }

  read(): HistogramValue {
    const counts = [...this.#counts];
    return { counts, sum: this.#sum, count: counts.reduce((total, count) => total + count, 0) };
  }
}

interface Cell {
  read(): number | HistogramValue;
}

/** Label sets of one metric; beyond it everything is counted under `other`, so that no caller can fill the memory. */
const seriesMax = 2_000;

/** The cells of one metric by the values of its labels. Keep a cell where it is used often. */
export class Labelled<Kept extends Cell> {
  readonly #labels: number;
  readonly #make: () => Kept;
  readonly #cells = new Map<string, { readonly labels: readonly string[]; readonly cell: Kept }>();

  constructor(labels: number, make: () => Kept) {
    this.#labels = labels;
    this.#make = make;
  }

  /** One value for each label, in the order of the declaration. */
  of(...values: readonly string[]): Kept {
    const key = values.length === 1 ? (values[0] as string) : values.join("\u0000");
    return this.#cells.get(key)?.cell ?? this.#add(key, values);
  }

  #add(key: string, values: readonly string[]): Kept {
    if (this.#cells.size >= seriesMax && values.some((value) => value !== "other")) return this.of(...values.map(() => "other"));
    if (values.length !== this.#labels) throw new Error(`${this.#labels} label values were expected, not ${values.length}`);
    const cell = this.#make();
    this.#cells.set(key, { labels: [...values], cell });
    return cell;
  }

  read(): Series[] {
    return [...this.#cells.values()].map(({ labels, cell }) => ({ labels, value: cell.read() }));
  }
}

/** What a gauge reads when it is collected: one number, or one for each label value. */
export type GaugeReading = number | ReadonlyMap<string, number>;

/** All metrics of one process. Names are unique; a gauge that cannot be read is left out of that collection. */
export class Metrics {
  readonly #families = new Map<string, () => Promise<MetricFamily | undefined>>();

  counter(options: MetricOptions): Counter {
    return this.counters({ ...options, labels: [] }).of();
  }

  counters(options: LabelledOptions): Labelled<Counter> {
    const labelled = new Labelled(options.labels.length, () => new Counter());
    this.#register(options.name, async () => ({ ...options, kind: "counter", bounds: [], series: labelled.read() }));
    return labelled;
  }

  histogram(options: Omit<HistogramOptions, "labels">): Histogram {
    return this.histograms({ ...options, labels: [] }).of();
  }

  histograms(options: HistogramOptions): Labelled<Histogram> {
    const labelled = new Labelled(options.labels.length, () => new Histogram(options.bounds));
    this.#register(options.name, async () => ({ ...options, kind: "histogram", series: labelled.read() }));
    return labelled;
  }

  /** `read` is called at each collection; what it throws leaves the gauge out of it. */
  gauge(options: MetricOptions & { readonly label?: string }, read: () => GaugeReading | Promise<GaugeReading>): void {
    this.#observed("gauge", options, read);
  }

  /** A gauge that is always 1 and says something by its labels. */
  info(options: MetricOptions, labels: Readonly<Record<string, string>>): void {
    const series = [{ labels: Object.values(labels), value: 1 }];
    this.#register(options.name, async () => ({ ...options, kind: "gauge", labels: Object.keys(labels), bounds: [], series }));
  }

  /** A counter that somebody else keeps, such as the processor time of the process. */
  observedCounter(options: MetricOptions, read: () => number | Promise<number>): void {
    this.#observed("counter", options, read);
  }

  async collect(): Promise<MetricFamily[]> {
    const families = await Promise.all([...this.#families.values()].map((read) => read()));
    return families.filter((family) => family !== undefined);
  }

  #observed(kind: MetricKind, options: MetricOptions & { readonly label?: string }, read: () => GaugeReading | Promise<GaugeReading>): void {
    const { name, help, label } = options;
    this.#register(name, async () => {
      try {
        const reading = await read();
        const series = typeof reading === "number" ? [{ labels: [], value: reading }] : [...reading].map(([key, value]) => ({ labels: [key], value }));
        return { name, help, kind, labels: label === undefined ? [] : [label], bounds: [], series };
      } catch {
        return undefined;
      }
    });
  }

  #register(name: string, read: () => Promise<MetricFamily | undefined>): void {
    if (this.#families.has(name)) throw new Error(`the metric ${name} is declared twice`);
    this.#families.set(name, read);
  }
}
