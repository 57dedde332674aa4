/**
 * A program file (docs/formats/program.md) as the engine sees it: read, capped and checked.
 *
 * Pure. A file that passes here cannot make the executor bind what is not there; what its shaders
 * compute is the compiler's word, held by the digest in the model's manifest.
 */
import { TransomError } from "../../errors.ts";
import { Reader } from "../../store/json.ts";
import type { ParameterInfo } from "../library-metadata.ts";

const FORMAT = "transom.program.v1";

// Caps: about ten times what the largest model that we compile needs.
const MAX_KERNELS = 1_000;
const MAX_WGSL_CHARS = 1_000_000;
const MAX_BINDINGS = 16;
const MAX_SCALARS = 16;
const MAX_STEPS = 20_000;
const MAX_FUNCTIONS = 64;
const MAX_STORAGES = 1_000;
const MAX_PARAMS = 20_000;
const MAX_TEXT = 1_024;
const MAX_CONTEXT = 16_777_216;
const MAX_ROWS = 1_024;
const MAX_BYTES = 2 ** 40;
const MAX_DEPTH = 8;
/** WebGPU's own cap. */
const MAX_SUBGROUP = 128;

export interface Kernel {
  name: string;
  entry: string;
  wgsl: string;
  /** Of each storage buffer, in the order of bindings: whether the kernel writes it. */
  writes: readonly boolean[];
  /** 32-bit words of the uniform behind them; the last is the grid's width less one. */
  scalars: number;
  /** Threads that a subgroup must have at least; 0: its threads have no need of each other. */
  subgroupSize: number;
}

/** A whole number that may depend on n, the rows of a call: evaluated by `valueOf`. */
export type Expression = number | "n" | readonly ["+" | "-" | "*" | "//", Expression, Expression];

/** Where a buffer of a dispatch is. */
export type Place =
  | { kind: "param"; index: number }
  | { kind: "shared"; name: string }
  | { kind: "storage"; index: number };

export interface Dispatch {
  kernel: string;
  buffers: readonly Place[];
  /** Values of the uniform's words but the last. */
  scalars: readonly Expression[];
  grid: readonly [Expression, Expression];
  /** Does the same with subgroups, over another grid; see `forSubgroups`. */
  instead?: Pick<Dispatch, "kernel" | "grid">;
}

export interface ProgramFunction {
  /** Rows that a call may have. */
  most: number;
  steps: readonly Dispatch[];
}

export interface Program {
  computeDtype: string;
  schedule: string;
  contextWindowSize: number;
  prefillChunkSize: number;
  pageSize: number;
  pagesPerSlot: number;
  slots: number;
  rows: number;
  vocabularySize: number;
  layers: number;
  memory: { weights: number; kvBytesPerToken: number; scratch: number };
  params: readonly ParameterInfo[];
  /** Bytes of each scratch buffer. */
  storages: readonly number[];
  kernels: ReadonlyMap<string, Kernel>;
  functions: ReadonlyMap<string, ProgramFunction>;
}

/** @throws TransomError `invalid-bundle` naming the field. */
export function parseProgram(bytes: Uint8Array): Program {
  const fail = (message: string) => new TransomError("invalid-bundle", `The program's ${message}`);
  const root = Reader.parse(bytes, "file", fail);
  const format = root.field("format");
  if (format.string(MAX_TEXT) !== FORMAT) {
    throw format.error(`must be ${FORMAT}: this page is older or newer than the model's compiler`);
  }
  const memory = root.field("memory");
  const params = root.field("params").array(MAX_PARAMS).map(readParameter);
  const storages = root
    .field("storages")
    .array(MAX_STORAGES)
    .map((size) => size.integer(4, MAX_BYTES));
  const kernels = readMap(root.field("kernels"), MAX_KERNELS, readKernel);
  const functions = readMap(root.field("functions"), MAX_FUNCTIONS, (row) => ({
    most: row.field("most").integer(1, MAX_CONTEXT),
    steps: row
      .field("steps")
      .array(MAX_STEPS)
      .map((step) => readDispatch(step, kernels, params.length, storages.length)),
  }));
  return {
    computeDtype: root.field("compute_dtype").string(MAX_TEXT),
    schedule: root.field("schedule").string(MAX_TEXT),
    contextWindowSize: root.field("context_window").integer(2, MAX_CONTEXT),
    prefillChunkSize: root.field("prefill_chunk").integer(1, MAX_CONTEXT),
    pageSize: root.field("page_size").integer(1, MAX_CONTEXT),
    pagesPerSlot: root.field("pages_per_slot").integer(1, MAX_CONTEXT),
    slots: root.field("slots").integer(1, MAX_ROWS),
    rows: root.field("rows").integer(1, MAX_ROWS),
    vocabularySize: root.field("vocabulary").integer(1, MAX_CONTEXT),
    layers: root.field("layers").integer(1, MAX_ROWS),
    memory: {
      weights: memory.field("weights").integer(0, MAX_BYTES),
      kvBytesPerToken: memory.field("kv_bytes_per_token").integer(1, MAX_BYTES),
      scratch: memory.field("scratch").integer(0, MAX_BYTES),
    },
    params,
    storages,
    kernels,
    functions,
  };
}

/**
 * The program as a device runs it, whose subgroups have so many threads at least; 0 for a device
 * without the feature.
 */
export function forSubgroups(program: Program, threads: number): Program {
  const choose = ({ instead, ...step }: Dispatch): Dispatch =>
    instead !== undefined && (program.kernels.get(instead.kernel)?.subgroupSize ?? 0) <= threads
      ? { ...step, ...instead }
      : step;
  const functions = [...program.functions].map(
    ([name, { most, steps }]) => [name, { most, steps: steps.map(choose) }] as const,
  );
  return { ...program, functions: new Map(functions) };
}

/** The value of an expression at n rows. */
export function valueOf(expression: Expression, n: number): number {
  if (typeof expression === "number") {
    return expression;
  }
  if (expression === "n") {
    return n;
  }
  const [operator, left, right] = expression;
  const a = valueOf(left, n);
  const b = valueOf(right, n);
  switch (operator) {
    case "+":
      return a + b;
    case "-":
      return a - b;
    case "*":
      return a * b;
    case "//":
      return Math.floor(a / b);
  }
}

function readMap<T>(
  row: Reader,
  most: number,
  read: (row: Reader, name: string) => T,
): Map<string, T> {
  const names = row.keys();
  if (names.length > most) {
    throw row.error(`has more than ${most} entries`);
  }
  return new Map(names.map((name) => [name, read(row.field(name), name)]));
}

function readParameter(row: Reader): ParameterInfo {
  return {
    name: row.field("name").string(MAX_TEXT),
    shape: row
      .field("shape")
      .array(MAX_DEPTH)
      .map((extent) => extent.integer(1, 2 ** 31 - 1)),
    dtype: row.field("dtype").string(MAX_TEXT),
  };
}

function readKernel(row: Reader, name: string): Kernel {
  const size = row.field("subgroup_size");
  return {
    name,
    entry: row.field("entry").string(MAX_TEXT),
    wgsl: row.field("wgsl").string(MAX_WGSL_CHARS),
    writes: row
      .field("writes")
      .array(MAX_BINDINGS)
      .map((flag) => flag.integer(0, 1) === 1),
    scalars: row.field("scalars").array(MAX_SCALARS).length,
    subgroupSize: size.isMissing ? 0 : size.integer(1, MAX_SUBGROUP),
  };
}

function readDispatch(
  row: Reader,
  kernels: ReadonlyMap<string, Kernel>,
  params: number,
  storages: number,
): Dispatch {
  const kernel = readKernelName(row, kernels);
  if (kernel.subgroupSize > 0) {
    throw row.error("names a kernel that not every device can run");
  }
  const buffers = row
    .field("buffers")
    .array(MAX_BINDINGS)
    .map((place) => readPlace(place, params, storages));
  const scalars = row
    .field("scalars")
    .array(MAX_SCALARS)
    .map((scalar) => readExpression(scalar, 0));
  if (buffers.length !== kernel.writes.length || scalars.length !== kernel.scalars - 1) {
    throw row.error(`does not bind what kernel ${kernel.name} takes`);
  }
  const step = { kernel: kernel.name, buffers, scalars, grid: readGrid(row) };
  const other = row.field("instead");
  if (other.isMissing) {
    return step;
  }
  const instead = readKernelName(other, kernels);
  if (instead.writes.join() !== kernel.writes.join() || instead.scalars !== kernel.scalars) {
    throw other.error(`does not take what kernel ${kernel.name} takes`);
  }
  return { ...step, instead: { kernel: instead.name, grid: readGrid(other) } };
}

function readKernelName(row: Reader, kernels: ReadonlyMap<string, Kernel>): Kernel {
  const name = row.field("kernel");
  const kernel = kernels.get(name.string(MAX_TEXT));
  if (kernel === undefined) {
    throw name.error("names no kernel of the program");
  }
  return kernel;
}

function readGrid(row: Reader): [Expression, Expression] {
  const [x = 1, y = 1] = row
    .field("grid")
    .array(2)
    .map((extent) => readExpression(extent, 0));
  return [x, y];
}

function readPlace(row: Reader, params: number, storages: number): Place {
  const [kind, what] = row.array(2);
  switch (kind?.string(MAX_TEXT) ?? "") {
    case "param":
      return { kind: "param", index: requiredField(row, what).integer(0, params - 1) };
    case "storage":
      return { kind: "storage", index: requiredField(row, what).integer(0, storages - 1) };
    case "shared":
      return { kind: "shared", name: requiredField(row, what).string(MAX_TEXT) };
    default:
      throw row.error("is no place of a buffer");
  }
}

function requiredField(row: Reader, field: Reader | undefined): Reader {
  if (field === undefined) {
    throw row.error("is incomplete");
  }
  return field;
}

function readExpression(row: Reader, depth: number): Expression {
  const value = row.raw();
  if (value === "n") {
    return "n";
  }
  if (typeof value === "number") {
    return value;
  }
  const [operator, left, right] = row.array(3);
  if (left === undefined || right === undefined || depth >= MAX_DEPTH) {
    throw row.error("is no expression");
  }
  const sign = operator?.string(MAX_TEXT);
  if (sign !== "+" && sign !== "-" && sign !== "*" && sign !== "//") {
    throw row.error("has an unknown operator");
  }
  return [sign, readExpression(left, depth + 1), readExpression(right, depth + 1)];
}
