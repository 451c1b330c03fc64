// The page: takes an image, asks the model, shows the answer.

const MEASUREMENTS = 20; // fewer of a slow model
const PATIENCE = 1000; // milliseconds for all of them
const SHORTEST = 10; // milliseconds of one; a quick model runs several times in it, because browsers' clocks are coarse
const SHOWN = 5;

const element = (id) => document.getElementById(id);
const info = JSON.parse(element("description").textContent);
const model = info.input;
let session;
let current; // the image that is shown: { bitmap, name }
let asked = 0; // counts the images, so that a slow one never shows over a later one
let queue; // of everything that is asked of the model, one after the other
let ready; // resolves once there is a model

/** Bytes that the page carries as base64 of gzip. */
async function unpack(id) {
  const text = atob(element(id).textContent);
  const packed = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  element(id).remove(); // the text is not needed twice
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function load() {
  if (!globalThis.DecompressionStream || !globalThis.WebAssembly) {
    throw new Error("this browser is too old, or set to run no WebAssembly. Use a current Firefox, Chrome, Edge or Safari.");
  }
  if (!globalThis.ort) throw new Error("ONNX Runtime Web does not start in this browser. Use another one.");
  ort.env.wasm.numThreads = 1; // more need headers that a page from disk can't have
  ort.env.wasm.wasmBinary = await unpack("wasm");
  ort.env.logLevel = "error";
  session = await ort.InferenceSession.create(await unpack("onnx"), { executionProviders: ["wasm"] });
}

/** The model's probabilities for an input. */
async function ask(input) {
  const outputs = await session.run({ [model.name]: input });
  const values = Array.from(outputs[info.output.name].data);
  if (!values.every(Number.isFinite)) throw new Error("its answer has values that are no numbers.");
  if (info.output.softmax_in_graph) return values;
  const largest = values.reduce((a, b) => Math.max(a, b));
  const powers = values.map((value) => Math.exp(value - largest));
  const total = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / total);
}

/** Milliseconds that some runs take. */
async function clock(input, runs) {
  const before = performance.now();
  for (let i = 0; i < runs; i++) await session.run({ [model.name]: input });
  return performance.now() - before;
}

/** The median milliseconds of a run, and how many measurements there were; the first runs only warm up. */
async function measure(input) {
  let runs = 1;
  while ((await clock(input, runs)) < SHORTEST) runs *= 2;
  const times = [];
  const start = performance.now();
  while (times.length < MEASUREMENTS && (times.length < 3 || performance.now() - start < PATIENCE)) {
    times.push((await clock(input, runs)) / runs);
  }
  times.sort((a, b) => a - b);
  const middle = times.length >> 1;
  const median = times.length % 2 ? times[middle] : (times[middle - 1] + times[middle]) / 2;
  return { median, count: times.length };
}

async function answer() {
  const { bitmap, name } = current;
  const part = region(bitmap, model, element("crop").checked);
  const pixels = modelPixels(bitmap, part, model);
  showViews(bitmap, name, part, pixels);
  const input = modelInput(pixels, model);
  const probabilities = await ask(input);
  showAnswer(probabilities, await measure(input));
}

/** Takes an image file; the answers come one after the other. */
function take(file) {
  const turn = ++asked;
  queue = queue.then(async () => {
    await ready;
    if (turn !== asked) return;
    const bitmap = await decode(file);
    current?.bitmap.close();
    current = { bitmap, name: file.name || "pasted image" };
    await work();
  }).catch(showProblem);
}

async function work() {
  element("error").hidden = true;
  element("status").textContent = "Looking at the image…";
  await new Promise((resolve) => setTimeout(resolve)); // lets the browser show that
  await answer();
}

function showProblem(problem) {
  const words = problem instanceof ImageProblem ? problem.message : `The model can't be used: ${problem.message ?? problem}`;
  clearAnswer();
  element("status").textContent = "";
  element("error").textContent = words;
  element("error").hidden = false;
}

function clearAnswer() {
  element("bars").replaceChildren();
  element("time").textContent = "";
  element("numbers").hidden = true;
  element("views").hidden = true;
  useDrop(false);
  element("crop-row").hidden = true;
}

function showViews(bitmap, name, part, pixels) {
  const canvas = element("original");
  const scale = Math.min(1, 640 / Math.max(part.width, part.height));
  canvas.width = Math.max(1, Math.round(part.width * scale));
  canvas.height = Math.max(1, Math.round(part.height * scale));
  canvas.classList.toggle("seen", Math.max(part.width, part.height) < 128);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, part.x, part.y, part.width, part.height, 0, 0, canvas.width, canvas.height);
  canvas.setAttribute("aria-label", `The image ${name}`);
  element("original-caption").textContent = `${name}, ${sides(bitmap)}`;
  paint(pixels, model, element("seen"));
  const kind = model.channels === 1 ? "grey " : "";
  element("seen").setAttribute("aria-label", `The ${model.width} by ${model.height} ${kind}pixels that the model sees`);
  element("seen-caption").textContent = `What the model sees, ${sides(model)}${kind && ", grey"}`;
  element("crop-row").hidden = bitmap.width * model.height === bitmap.height * model.width;
  element("views").hidden = false;
  useDrop(true);
}

/** Once there is an image, the place to drop one makes room. */
function useDrop(used) {
  element("drop").classList.toggle("used", used);
  element("choose").textContent = used ? "Choose another image" : "Choose an image";
  element("hint").hidden = used;
}

const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}\u00a0%`;
const sides = ({ width, height }) => `${width}\u00a0×\u00a0${height}`;
const make = (tag, text = "", className = "") => Object.assign(document.createElement(tag), { textContent: text, className });

function showAnswer(probabilities, { median, count }) {
  const order = probabilities.map((_, i) => i).sort((a, b) => probabilities[b] - probabilities[a]);
  element("bars").replaceChildren(...order.slice(0, SHOWN).map((i) => bar(info.class_names[i], probabilities[i])));
  element("rows").replaceChildren(...order.map((i) => row(i, probabilities[i])));
  element("numbers").hidden = false;
  const time = median < 0.01 ? "Less than 0.01" : median.toFixed(median < 1 ? 2 : median < 100 ? 1 : 0);
  element("time").textContent = `${time}\u00a0ms per image, the median of ${count} measurements on one processor core.`;
  element("status").textContent = `${info.class_names[order[0]]}, ${percent(probabilities[order[0]])}`;
  element("status").scrollIntoView({ block: "nearest" }); // a phone's screen is short
}

function bar(name, probability) {
  const item = make("li");
  const track = make("span", "", "track");
  const fill = make("span", "", "fill");
  fill.style.width = `${100 * probability}%`;
  track.append(fill);
  item.append(make("span", name, "name"), make("span", percent(probability), "percent"), track);
  return item;
}

function row(index, probability) {
  const line = make("tr");
  const name = Object.assign(make("th", info.class_names[index]), { scope: "row" });
  const cell = make("td");
  cell.append(Object.assign(make("data", probability.toFixed(6)), { value: String(probability) }));
  cell.firstChild.dataset.class = index;
  line.append(name, cell);
  return line;
}

function showAbout() {
  const names = info.class_names;
  const measured = info.num_test_images ? `${info.num_test_images.toLocaleString("en")} test images` : "the test images";
  element("accuracy").textContent =
    info.accuracy === null ? "How often it is right was not measured." : `It is right on ${percent(info.accuracy, 2)} of ${measured}.`;
  const listed = names.length > 20 ? "" : `: ${names.join(", ")}`;
  element("classes").textContent =
    `It answers only with these ${names.length} classes, whatever the image shows${listed}.`;
  const size = info.onnx.bytes < 1e6 ? `${(info.onnx.bytes / 1e3).toFixed(0)} kB` : `${(info.onnx.bytes / 1e6).toFixed(1)} MB`;
  const kind = model.channels === 1 ? "grey" : "RGB";
  const lines = { ...info.summary, Input: `${sides(model)} pixels, ${kind}`, "Model file": size };
  element("summary").replaceChildren(...Object.entries(lines).flatMap(([key, value]) => [make("dt", key), make("dd", value)]));
  element("runtime-name").textContent = `ONNX Runtime Web ${info.runtime.version}`;
}

function listen() {
  const drop = element("drop");
  element("file").addEventListener("click", (event) => (event.target.value = "")); // the same file can be chosen again
  element("file").addEventListener("change", (event) => event.target.files.length && take(event.target.files[0]));
  element("crop").addEventListener("change", () => (queue = queue.then(work).catch(showProblem)));
  addEventListener("dragover", (event) => (event.preventDefault(), drop.classList.add("over")));
  addEventListener("dragleave", (event) => event.relatedTarget || drop.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const file = event.dataTransfer.files[0];
    if (file) take(file);
    else showProblem(new ImageProblem("That was no file. Save the image first, then drop or choose it."));
  });
  addEventListener("paste", (event) => event.clipboardData.files.length && take(event.clipboardData.files[0]));
}

showAbout();
ready = load();
queue = ready.then(() => (element("status").textContent = "Ready for an image.")).catch(showProblem);
listen();
