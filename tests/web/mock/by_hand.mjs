// The stand-in for a look by hand: `npm run mock -- [empty|busy|long] [port]`; with `--events`, only the invented events, one a line.

import * as scenes from "./scenes.mjs";

const [scene = "busy", port = "8099"] = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const mock = await scenes[scene](process.argv.includes("--events") ? 0 : Number(port));
if (process.argv.includes("--events")) {
  for (const { event } of mock.told) console.log(JSON.stringify(event));
  await mock.close();
} else {
  const { url } = scenes.participant(mock);
  console.log(`dashboard ${mock.url}/ (token ahw_operator or ahw_viewer)\nparticipant ${url}`);
  const running = mock.sessions.get("s-1");
  if (running) setInterval(() => mock.tell(running.next()), 5_000);
}
