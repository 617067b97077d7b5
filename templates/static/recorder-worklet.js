// Hands the microphone's samples on, in pieces of a twentieth of a second.
class Tap extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = new Float32Array(Math.round(sampleRate / 20));
    this.at = 0;
  }

  process(inputs) {
    const samples = inputs[0][0];
    for (let index = 0; samples && index < samples.length; index += 1) {
      this.piece[this.at] = samples[index];
      this.at += 1;
      if (this.at === this.piece.length) {
        this.port.postMessage(this.piece.slice());
        this.at = 0;
      }
    }
    return true;
  }
}

registerProcessor("tap", Tap);
