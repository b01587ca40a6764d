/** A real browser without a window, driven through a pipe. */

import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

const NAMES = ["chromium", "chromium-browser", "google-chrome"];

/** @returns {string | null} path of Chromium: the environment's CHROMIUM, or one on the PATH */
export function findBrowser() {
  const folders = (process.env.PATH ?? "").split(delimiter);
  const paths = NAMES.flatMap((name) => folders.map((folder) => join(folder, name)));
  for (const path of process.env.CHROMIUM ? [process.env.CHROMIUM] : paths) {
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      continue;
    }
  }
  return null;
}

/** One browser with one page. */
export class Browser {
  /**
   * @param {import("node:child_process").ChildProcess} process
   * @param {string} profile
   */
  constructor(process, profile) {
    this.process = process;
    this.profile = profile;
    this.next = 0;
    this.session = "";
    /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
    this.waiting = new Map();
    /** Errors and warnings of the page's console, and addresses that it asked for. @type {string[]} */
    this.complaints = [];
    /** @type {string[]} */
    this.requests = [];
    this.input = /** @type {import("node:stream").Writable} */ (process.stdio[3]);
    const output = /** @type {import("node:stream").Readable} */ (process.stdio[4]);
    this.ended = false;
    process.on("close", () => this.end());
    process.on("error", () => this.end());
    this.input.on("error", () => this.end());
    let buffer = "";
    output.setEncoding("utf8").on("data", (text) => {
      const messages = (buffer + text).split("\0");
      buffer = messages.pop() ?? "";
      for (const message of messages) this.receive(JSON.parse(message));
    });
  }

  /** The browser is gone: whoever waits for it is told. */
  end() {
    this.ended = true;
    for (const { reject } of this.waiting.values()) reject(new Error("the browser ended"));
    this.waiting.clear();
  }

  /** @param {string} path */
  static async launch(path) {
    const profile = await mkdtemp(join(tmpdir(), "browser-"));
    const options = [
      "--headless=new",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-dev-shm-usage",
      "--remote-debugging-pipe",
    ];
    const child = spawn(
      path,
      [...options, "--no-first-run", "--disable-background-networking", `--user-data-dir=${profile}`],
      {
        stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
      },
    );
    const browser = new Browser(child, profile);
    const { targetId } = await browser.send("Target.createTarget", { url: "about:blank" });
    ({ sessionId: browser.session } = await browser.send("Target.attachToTarget", {
      targetId,
      flatten: true,
    }));
    for (const domain of ["Page", "Runtime", "Log", "Network", "DOM"]) await browser.send(`${domain}.enable`);
    return browser;
  }

  /** @param {any} message */
  receive({ id, result, error, method, params }) {
    if (id !== undefined) {
      const call = this.waiting.get(id);
      this.waiting.delete(id);
      if (error) call?.reject(new Error(error.message));
      else call?.resolve(result);
    } else if (method === "Runtime.exceptionThrown")
      this.complaints.push(params.exceptionDetails.exception?.description);
    else if (method === "Log.entryAdded" && params.entry.level !== "verbose")
      this.complaints.push(params.entry.text);
    else if (method === "Network.requestWillBeSent") this.requests.push(params.request.url);
  }

  /**
   * @param {string} method
   * @param {object} [params]
   * @returns {Promise<any>}
   */
  send(method, params = {}) {
    if (this.ended) return Promise.reject(new Error("the browser ended"));
    const id = ++this.next;
    const session = this.session ? { sessionId: this.session } : {};
    this.input.write(`${JSON.stringify({ id, method, params, ...session })}\0`);
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }));
  }

  /** @param {string} url */
  async go(url) {
    this.complaints.length = 0;
    this.requests.length = 0;
    await this.send("Page.navigate", { url });
  }

  /**
   * The value of an expression in the page.
   * @param {string} expression
   */
  async value(expression) {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", {
      expression,
      returnByValue: true,
      awaitPromise: true,
    });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description);
    return result.value;
  }

  /**
   * Wait until an expression is true.
   * @param {string} expression
   */
  async until(expression) {
    for (let tries = 0; tries < 600; tries++) {
      if (await this.value(expression).catch(() => false)) return;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    throw new Error(
      `never true: ${expression}; the page shows: ${await this.value("document.body.innerText")}`,
    );
  }

  /**
   * Press a key.
   * @param {string} key
   * @param {{ code?: number, text?: string }} [more]
   */
  async press(key, { code, text } = {}) {
    const event = { key, code: key, windowsVirtualKeyCode: code, text };
    await this.send("Input.dispatchKeyEvent", { type: "keyDown", ...event });
    await this.send("Input.dispatchKeyEvent", { type: "keyUp", ...event });
  }

  /**
   * Pick files or a folder in an input.
   * @param {string} selector
   * @param {string[]} files
   */
  async pick(selector, files) {
    const { root } = await this.send("DOM.getDocument");
    const { nodeId } = await this.send("DOM.querySelector", { nodeId: root.nodeId, selector });
    await this.send("DOM.setFileInputFiles", { nodeId, files });
  }

  /**
   * @param {{ width?: number, dark?: boolean }} look
   */
  async look({ width = 1200, dark = false }) {
    await this.send("Emulation.setDeviceMetricsOverride", {
      width,
      height: 900,
      deviceScaleFactor: 1,
      mobile: false,
    });
    await this.send("Emulation.setEmulatedMedia", {
      features: [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }],
    });
  }

  /** @returns {Promise<Buffer>} the whole page as PNG */
  async screenshot() {
    const { data } = await this.send("Page.captureScreenshot", { captureBeyondViewport: true });
    return Buffer.from(data, "base64");
  }

  async close() {
    if (!this.ended) {
      const ended = new Promise((resolve) => this.process.on("close", resolve));
      this.process.kill();
      await ended;
    }
    await rm(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
