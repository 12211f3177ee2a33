import type { Channel } from '../intake/channel.ts';
import type { CreateProvider, Provider, ProviderContext } from './channel.ts';
import { smtpProvider } from './email-smtp.ts';

/** THE list of providers. A new one is a file and a line. */
const PROVIDERS: CreateProvider[] = [smtpProvider];

export interface Providers {
  find(channel: Channel, name: string): Provider | undefined;
  close(): Promise<void>;
}

export function createProviders(context: ProviderContext): Providers {
  const providers = PROVIDERS.map((create) => create(context));
  return {
    find: (channel, name) => providers.find((provider) => provider.channel === channel && provider.name === name),
    close: async () => {
      await Promise.all(providers.map((provider) => provider.close()));
    },
  };
}
