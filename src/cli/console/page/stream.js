// The stream of live updates: read for ever, and begun again when it breaks.

/** Reads server-sent events from `url` and gives each to `told(event, data)`; `told('offline', why)` when there is no stream. */
export async function follow(url, headers, told) {
  for (let wait = 500; ; wait = Math.min(wait * 2, 5000)) {
    try {
      const response = await fetch(url, { headers: headers() });
      if (!response.ok) {
        const { error } = await response.json().catch(() => ({}));
        throw new Error(error ?? `the console answered ${response.status}`);
      }
      wait = 500;
      await read(response.body, told);
      told('offline', 'the console has ended the stream');
    } catch (error) {
      told('offline', error instanceof TypeError ? 'the console does not answer' : error.message);
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

async function read(body, told) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const lines = text.slice(0, end).split('\n');
      text = text.slice(end + 2);
      const field = (name) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      const data = field('data');
      if (data !== undefined) told(field('event'), data);
    }
  }
}
