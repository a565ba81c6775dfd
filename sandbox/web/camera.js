// Takes one photo with the computer's camera.

import { $ } from "./dom.js";

/** A JPEG file, or null where the reader thought better of it. Throws where there is no camera to use. */
export async function takePhoto() {
  const stream = await opened();
  const dialog = $("shot");
  const video = dialog.querySelector("video");
  video.srcObject = stream;
  dialog.returnValue = "cancel";
  dialog.showModal();
  try {
    await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
    return dialog.returnValue === "take" ? await still(video) : null;
  } finally {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
  }
}

async function opened() {
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } } });
  } catch (error) {
    throw new Error(`The camera cannot be used (${error.message}). Attach a photo instead.`, { cause: error });
  }
}

async function still(video) {
  const canvas = Object.assign(document.createElement("canvas"), { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.9));
  if (!blob) throw new Error("The camera gave no picture yet. Try again.");
  return new File([blob], "camera.jpg", { type: "image/jpeg" });
}
