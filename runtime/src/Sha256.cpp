//===- Sha256.cpp - SHA-256 of bytes as they come -------------------------===//

#include "chorus_rt/Sha256.h"

#include <openssl/evp.h>

#include <new>

namespace chorus::rt {

/// Null `digest` means that an earlier call failed.
struct Sha256::Context {
  EVP_MD_CTX *digest = nullptr;

  Context() : digest(EVP_MD_CTX_new()) {
    if (digest && EVP_DigestInit_ex(digest, EVP_sha256(), nullptr) != 1)
      clear();
  }
  ~Context() { clear(); }
  Context(const Context &) = delete;
  Context &operator=(const Context &) = delete;
  void clear() {
    EVP_MD_CTX_free(digest);
    digest = nullptr;
  }
};

Sha256::Sha256() : context(new (std::nothrow) Context) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256 &&) noexcept = default;
Sha256 &Sha256::operator=(Sha256 &&) noexcept = default;

void Sha256::update(const void *data, size_t sizeBytes) {
  if (context && context->digest &&
      EVP_DigestUpdate(context->digest, data, sizeBytes) != 1)
    context->clear();
}

StatusOr<Sha256Digest> Sha256::finish() {
  Sha256Digest digest;
  unsigned length = 0;
  if (!context || !context->digest ||
      EVP_DigestFinal_ex(context->digest, digest.data(), &length) != 1 ||
      length != digest.size())
    return limitError("memory", "", "no memory to compute a SHA-256");
  return digest;
}

StatusOr<Sha256Digest> sha256(const void *data, size_t sizeBytes) {
  Sha256 hash;
  hash.update(data, sizeBytes);
  return hash.finish();
}

std::string toHex(const Sha256Digest &digest) {
  const char *digits = "0123456789abcdef";
  std::string text;
  for (uint8_t byte : digest) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

} // namespace chorus::rt
