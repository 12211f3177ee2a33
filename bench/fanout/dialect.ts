/** How one client talks to its server once the socket is open. One per client: it may hold keys and counters. */
export interface Dialect {
  /** What goes out with `connection_init`, from what was given for this client. */
  init(params: Record<string, unknown>): Record<string, unknown>;
  /** The payload of `connection_ack`, which is always in clear. */
  acknowledged(payload: unknown): void;
  /** A protocol message after that, made ready for the wire: text frames for strings, binary ones for bytes. */
  encode(message: string): string | Uint8Array;
  /**
   * How many `next` messages one frame holds, cheaply. Throws where it holds an `error` or a `complete`. The bytes
   * belong to somebody else: they change after the call, and must not be changed in it.
   */
  count(bytes: Buffer, start: number, end: number): number;
}

export type CreateDialect = () => Dialect;

const NEXT = Buffer.from('"type":"next"');
const FATAL = ['"type":"error"', '"type":"complete"'];

/** Counts without parsing: a quote within a string is escaped, so this is found in no text of a notification. */
export function countNext(bytes: Buffer, start: number, end: number): number {
  let found = 0;
  for (let at = start; at < end; found += 1) {
    const hit = bytes.indexOf(NEXT, at);
    if (hit === -1 || hit + NEXT.length > end) break;
    at = hit + NEXT.length;
  }
  if (found === 0) failOn(bytes.toString('utf8', start, end));
  return found;
}

function failOn(text: string): void {
  if (FATAL.some((type) => text.includes(type))) throw new Error(`a subscription ended: ${text}`);
}

/** graphql-transport-ws as it is: one message a frame. */
export const createDialect: CreateDialect = () => ({
  init: (params) => params,
  acknowledged: () => {},
  encode: (message) => message,
  count: (bytes, start, end) => {
    const hit = bytes.indexOf(NEXT, start);
    if (hit !== -1 && hit < end) return 1;
    failOn(bytes.toString('utf8', start, end));
    return 0;
  },
});
