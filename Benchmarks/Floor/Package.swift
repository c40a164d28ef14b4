// swift-tools-version:6.1
import PackageDescription

// A package of its own, so that neither `swift build` nor CI of the project builds it. `Benchmarks/compare serving` does, on demand.
let package = Package(
    name: "floor",
    // The version the project is resolved to.
    dependencies: [.package(url: "https://github.com/apple/swift-nio", exact: "2.101.2")],
    targets: [
        .executableTarget(
            name: "nio-floor",
            dependencies: [
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            path: ".", sources: ["main.swift"])
    ])
