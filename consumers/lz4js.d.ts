declare module 'lz4js' {
  /** Reads one LZ4 frame. It does not verify the checksums of the frame; Kafka's own checksum covers the batch. */
  export function decompress(frame: Uint8Array): Uint8Array;
}
