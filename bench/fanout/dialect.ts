/** Protocol of one client on an open socket. Each client has its own, because it may contain keys and counters. */
export interface Dialect {
  /** Returns the payload of `connection_init`, based on that of the contestant. */
  init(params: Record<string, unknown>): Record<string, unknown>;
  /** Handles the payload of `connection_ack`, which is never encrypted. */
  acknowledged(payload: unknown): void;
  /** Encodes a later message: a string becomes a text frame, bytes become a binary frame. */
  encode(message: string): string | Uint8Array;
  /**
   * Counts the `next` messages in a frame without parsing it. Throws when the frame contains `error` or `complete`. The
   * buffer is reused after the call and must not be modified.
   */
  count(bytes: Buffer, start: number, end: number): number;
}

export type CreateDialect = () => Dialect;

const NEXT = Buffer.from('"type":"next"');
const FATAL = ['"type":"error"', '"type":"complete"'];

/** Cannot occur within a text of a notification, because quotes within JSON strings are escaped. */
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

/** Plain graphql-transport-ws, with one message per frame. */
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
