import { createECDH } from 'node:crypto';

import {
  createOpener,
  createSealer,
  deriveKey,
  type Opener,
  type Sealer,
  STREAM_PROTOCOL,
} from '../../src/live/seal.ts';
import { countNext, type CreateDialect } from './dialect.ts';

// Client side of schema/stream-protocol.md. Synchronous, because promises would slow down the load generator.

const withLength = (text: string): Buffer => {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
};

export const createDialect: CreateDialect = () => {
  const pair = createECDH('prime256v1');
  const publicKey = pair.generateKeys();
  let identity = Buffer.alloc(0);
  let sealer: Sealer;
  let opener: Opener;
  return {
    init: (params) => {
      const claims = Buffer.from(String(params['token']).split('.')[1] ?? '', 'base64url').toString();
      const { tenant_id: tenant, sub } = JSON.parse(claims) as { tenant_id: string; sub: string };
      identity = Buffer.concat([withLength(tenant), withLength(sub)]);
      return { ...params, clientPublicKey: publicKey.toString('base64url') };
    },
    acknowledged: (payload) => {
      const { serverPublicKey, salt } = payload as { serverPublicKey: string; salt: string };
      const serverPoint = Buffer.from(serverPublicKey, 'base64url');
      const info = Buffer.concat([Buffer.from(STREAM_PROTOCOL), identity, publicKey, serverPoint]);
      const keys = deriveKey(pair.computeSecret(serverPoint), Buffer.from(salt, 'base64url'), info, 64);
      sealer = createSealer(keys.subarray(0, 32));
      opener = createOpener(keys.subarray(32));
    },
    encode: (message) => sealer.seal(message),
    count: (bytes, start, end) => {
      const plain = opener.open(bytes.subarray(start, end));
      return countNext(plain, 0, plain.length);
    },
  };
};
