import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { type CryptoKey, exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from 'jose';

/** Key pair of an identity service, and tokens signed with it. */
export interface Signer {
  alg: string;
  kid: string;
  publicKey: CryptoKey;
  publicJwk: JWK;
  /** Signs the claims of an ordinary user, changed by `claims`. A claim that is undefined is left out. */
  sign(claims?: Record<string, unknown>, header?: Record<string, unknown>): Promise<string>;
}

export const ISSUER = 'https://identity.test/';
export const AUDIENCE = 'notifications';
export const TENANT = 'tenant-identity';

export const secondsFromNow = (seconds: number): number => Math.floor(Date.now() / 1000) + seconds;

export const ordinaryClaims = (): JWTPayload => ({
  iss: ISSUER,
  aud: AUDIENCE,
  sub: 'anna',
  tenant_id: TENANT,
  permissions: [],
  exp: secondsFromNow(3_600),
});

export async function createSigner(alg: string, kid: string, options: { crv?: string } = {}): Promise<Signer> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true, ...options });
  return {
    alg,
    kid,
    publicKey,
    publicJwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' },
    sign: (claims = {}, header = {}) =>
      // Converted through JSON to remove undefined claims.
      new SignJWT(JSON.parse(JSON.stringify({ ...ordinaryClaims(), ...claims })) as JWTPayload)
        .setProtectedHeader({ alg, kid, ...header })
        .sign(privateKey),
  };
}

/** HTTP server that serves a JWKS and counts its requests. */
export interface JwksServer {
  url: string;
  fetches: number;
  /** The response: keys, or an error. */
  answer: { keys: JWK[] } | { status: number; body: string };
  /** Stops accepting connections. */
  close(): Promise<void>;
}

export async function startJwksServer(...signers: Signer[]): Promise<JwksServer> {
  const state: JwksServer = {
    url: '',
    fetches: 0,
    answer: { keys: signers.map((signer) => signer.publicJwk) },
    close: async () => {
      server.closeAllConnections();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  };
  const server = createServer((_request, response) => {
    state.fetches += 1;
    const { answer } = state;
    if ('keys' in answer) response.setHeader('content-type', 'application/json').end(JSON.stringify(answer));
    else response.writeHead(answer.status).end(answer.body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  state.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`;
  return state;
}
