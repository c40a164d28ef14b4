import Engines
import Foundation

// trees-benchmark MODEL ROWS: how long the evaluator takes for one row and for a thousand, without a server around it.
// MODEL is an XGBoost model with one output; ROWS holds its rows as float32, one after another. Prints JSON: the median and the 99th percentile of a row
// that comes alone, in nanoseconds, each row another one than before, and rows a second in batches of a thousand.

guard CommandLine.arguments.count == 3 else {
    FileHandle.standardError.write(Data("usage: trees-benchmark MODEL ROWS\n".utf8))
    exit(64)
}
let model = try TreeEnsemble(xgboost: [UInt8](Data(contentsOf: URL(filePath: CommandLine.arguments[1]))))
let rows = try Data(contentsOf: URL(filePath: CommandLine.arguments[2])).withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
let width = model.featureCount
let count = rows.count / width
let batch = 1000
guard model.outputCount == 1, count >= batch, rows.count == count * width else {
    FileHandle.standardError.write(Data("the model needs one output, and at least \(batch) whole rows of \(width) values\n".utf8))
    exit(65)
}

func nanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

var sum: Float = 0
// What reading the clock takes is part of each measurement; it is taken off.
var clock: [UInt64] = (0..<10_001).map { _ in
    let start = nanoseconds()
    return nanoseconds() - start
}
clock.sort()
var single: [UInt64] = []
try rows.withUnsafeBufferPointer { rows in
    for i in 0..<200_000 {
        let row = UnsafeBufferPointer(rebasing: rows[i % count * width..<(i % count + 1) * width])
        let start = nanoseconds()
        sum += try model.predict(row)
        single.append(nanoseconds() - start)
    }
}
single.sort()
let cost = clock[clock.count / 2]
var output = [Float](repeating: 0, count: batch)
let start = nanoseconds()
let rounds = 3000
try rows.withUnsafeBufferPointer { rows in
    for i in 0..<rounds {
        let first = i % (count / batch) * batch
        try output.withUnsafeMutableBufferPointer { try model.predict(UnsafeBufferPointer(rebasing: rows[first * width..<(first + batch) * width]), into: $0) }
        sum += output[0]
    }
}
let seconds = Double(nanoseconds() - start) / 1e9
print("{\"p50\": \(single[single.count / 2] - cost), \"p99\": \(single[single.count * 99 / 100] - cost), \"rows\": \(Int(Double(rounds * batch) / seconds)), \"sum\": \(sum)}")
