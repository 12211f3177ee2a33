import { promisify } from 'node:util';
import { zstdCompress, zstdDecompress } from 'node:zlib';

import kafkajs from 'kafkajs';
import snappy from 'kafkajs-snappy';
import { compressFrame, decompressFrame } from 'lz4-napi';

// kafkajs brings only gzip. A producer chooses its own codec, and a batch that cannot be opened would block its
// partition for ever, so every codec of the protocol is registered.
const { CompressionCodecs, CompressionTypes } = kafkajs;

const compressZstd = promisify(zstdCompress);
const decompressZstd = promisify(zstdDecompress);

CompressionCodecs[CompressionTypes.Snappy] = snappy;
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: (encoder: { buffer: Buffer }) => compressFrame(encoder.buffer),
  decompress: (buffer: Buffer) => decompressFrame(buffer),
});
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: (encoder: { buffer: Buffer }) => compressZstd(encoder.buffer),
  decompress: (buffer: Buffer) => decompressZstd(buffer),
});
