//===- WriteArtifactFixture.cpp - Writes the fixture to a file ------------===//
//
// For golden files of a new format version:
//   ninja WriteArtifactFixture
//   bin/WriteArtifactFixture test/data/artifacts/format-MAJOR.MINOR.chorus
//
//===----------------------------------------------------------------------===//

#include "ArtifactFixture.h"

#include <cstdio>

int main(int argc, char **argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: WriteArtifactFixture OUT.chorus\n");
    return 2;
  }
  chorus::rt::test::writeFixture(argv[1],
                                 chorus::rt::test::codeVariant("good"));
  return 0;
}
