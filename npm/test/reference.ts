// A server that does what a test says: refuses, sends away, recovers. For what the gateway does
// only with certain tokens, or at certain times.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server, type ServerOptions, type Socket } from 'socket.io';
import { onTestFinished } from 'vitest';

export interface Reference {
  io: Server;
  port: number;
  /** What each connection showed as `auth`, in order. */
  shown: Record<string, unknown>[];
}

/** `judge` returns the code of the refusal, or nothing. */
export async function startReference(
  judge: (auth: Record<string, any>) => string | undefined = () => undefined,
  options: Partial<ServerOptions> = {},
): Promise<Reference> {
  const http = createServer();
  const io = new Server(http, options);
  const shown: Record<string, unknown>[] = [];
  io.use((socket: Socket, next) => {
    const { auth } = socket.handshake;
    shown.push(auth);
    const code = judge(auth);
    next(code ? Object.assign(new Error(`Unauthorized: ${code}`), { data: { code } }) : undefined);
  });
  await new Promise<void>((listening) => http.listen(0, '127.0.0.1', listening));
  onTestFinished(async () => {
    await io.close();
  });
  return { io, port: (http.address() as AddressInfo).port, shown };
}
